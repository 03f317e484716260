"""Where the marks of a ranking's chart lie: values, intervals and ticks as shares of the width.

The page draws the chart with these shares, so that it is as wide as the window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from heatproof.results.ranking import Benchmark, RankedCombination

from .board import Board

MARGIN = 0.05
"""The free share of the width at either end."""
TICKS = 5
"""The largest number of intervals between ticks."""


@dataclass(frozen=True)
class Axis:
    """The values at both ends of a chart and at its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> str:
        """The position of a value as a percentage of the width."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"


def axis(board: Board) -> Axis | None:
    """Choose the axis of a ranking; None where no combination has a value."""
    if not board.valued:
        return None
    drawn: list[RankedCombination | Benchmark] = [*board.entries, *board.benchmarks]
    values = [number for entry in drawn for number in _numbers(entry)]
    return fitted(values)


def fitted(values: Sequence[float]) -> Axis:
    """Choose an axis that shows all values, with ticks at round numbers."""
    from matplotlib.ticker import MaxNLocator

    low = min(values)
    high = max(values)
    free = MARGIN * (high - low) or MARGIN * max(abs(high), 1e-6)
    low -= free
    high += free
    ticks = MaxNLocator(TICKS).tick_values(low, high)
    return Axis(low, high, tuple(float(tick) for tick in ticks if low <= tick <= high))


def _numbers(entry: RankedCombination | Benchmark) -> list[float]:
    numbers = [entry.value, entry.row["low"], entry.row["high"]]
    return [number for number in numbers if number == number]
