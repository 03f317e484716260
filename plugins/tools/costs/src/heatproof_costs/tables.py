"""Shows the costs of a plan as a table in the terminal."""

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Group

from heatproof.cli.tables import table

from .estimate import Estimate


def size(count: float) -> str:
    """Format a number of bytes with three significant digits.

    By hand, since ``rich.filesize`` writes ``299.0 MB``, with which the table is too wide for a terminal.

    >>> size(2_500_000)
    '2.5 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def cost_table(estimates: Iterable[Estimate]) -> Group:
    """Make the table of costs: a row for the heatmaps of each estimate, and a row for each of its metrics."""
    rows: list[tuple[Any, ...]] = []
    for estimate in estimates:
        rows.extend(_rows(estimate))
    columns = ("dataset", "samples are", "model", "for", "samples", "forward", "backward", "heatmaps", "disk", "memory")
    title = "Estimated cost: upper bounds of passes over all samples and disk space, peak memory of all processes"
    return table(title, columns, rows, numbers=columns[4:], fold=("samples are", "for"))


def _rows(cost: Estimate) -> Iterator[tuple[Any, ...]]:
    yield (
        cost.dataset, cost.use, cost.model, "heatmaps", cost.samples, cost.forwards, cost.backwards, cost.heatmaps,
        size(cost.disk), size(cost.memory),
    )  # fmt: skip
    for name, (forwards, backwards) in cost.metrics.items():
        yield (cost.dataset, cost.use, cost.model, name, cost.samples, forwards, backwards, None, None, None)
