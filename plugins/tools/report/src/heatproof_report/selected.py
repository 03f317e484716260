"""The settings that ``select`` has chosen, as the page shows them: each candidate with its value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heatproof.results.finished import Results

from .chart import Axis, fitted


@dataclass(frozen=True)
class Selected:
    """One selected entry: ``candidates`` are its rows with a ``label`` each, ``number`` that of the selected one."""

    name: str
    where: str
    dataset: str
    split: str
    samples: int
    by: str
    measure: str
    number: int
    selected: Mapping[str, Any]
    candidates: tuple[Mapping[str, Any], ...]

    @property
    def axis(self) -> Axis | None:
        """The axis of the chart of all candidates; None where none has a value."""
        values = [row[name] for row in self.candidates for name in ("value", "low", "high")]
        numbers = [value for value in values if value is not None]
        return fitted(numbers) if numbers else None


def selected(results: Results) -> list[Selected]:
    """List what was selected in a run, in the order of names."""
    entries = [entry for entry in results.selection.values() if "candidates" in entry]
    entries.sort(key=lambda entry: (entry["name"], entry["where"]))
    return [_selected(entry) for entry in entries]


def _selected(entry: Mapping[str, Any]) -> Selected:
    candidates = tuple({**row, "label": _label(row["settings"])} for row in entry["candidates"])
    names = {name: entry[name].rpartition("/")[2] for name in ("dataset", "by")}
    return Selected(
        entry["name"], entry["where"], names["dataset"], entry["split"], entry["samples"], names["by"],
        entry["measure"], entry["number"], entry["selected"], candidates,
    )  # fmt: skip


def _label(settings: Mapping[str, Any]) -> str:
    """The settings of a candidate, without the name of a single one."""
    if len(settings) == 1:
        return str(*settings.values())
    return ", ".join(f"{name}={value}" for name, value in settings.items())
