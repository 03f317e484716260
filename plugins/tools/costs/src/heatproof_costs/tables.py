"""The costs of a plan as a table of the terminal."""

from collections.abc import Iterable
from typing import Any

from rich.console import Group

from heatproof.cli.tables import table

from .estimate import Estimate


def size(count: float) -> str:
    """A number of bytes in words.

    >>> size(2_500_000)
    '2.5 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def cost_table(estimates: Iterable[Estimate]) -> Group:
    """What a plan will cost."""
    rows = [row for entry in estimates for row in _cost_rows(entry)]
    columns = ("dataset", "model", "for", "samples", "forward", "backward", "heatmaps", "disk", "memory")
    title = "Estimated cost: passes over all samples and disk at most, memory for one image in a pass"
    return table(title, columns, rows, numbers=columns[3:], fold=("for",))


def _cost_rows(entry: Estimate) -> Iterable[tuple[Any, ...]]:
    """What the heatmaps take, then what each metric takes that asks the model or the explainer."""
    passes = entry.samples, entry.forwards, entry.backwards
    yield entry.dataset, entry.model, "heatmaps", *passes, entry.heatmaps, size(entry.disk), size(entry.memory)
    for name, cost in entry.metrics.items():
        yield entry.dataset, entry.model, name, entry.samples, *cost, None, None, None
