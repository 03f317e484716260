"""The settings of an inspection, validated like those of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from heatproof.component import Location, Params, Seed, plain
from heatproof.config import reading
from heatproof.config.entries import Count, DatasetEntry, Device, entry_of, nonempty, not_boolean
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof_inspectors.inspector import Inspector


def _single(entries: tuple[DatasetEntry, ...]) -> tuple[DatasetEntry, ...]:
    """Refuse several datasets: the ids of their cases may be equal."""
    names = dict.fromkeys(entry.component.identity for entry in entries)
    if len(names) > 1:
        raise ValueError("are several datasets; list splits of one dataset, and inspect others by another config")
    return entries


class InspectionConfig(Params):
    """All settings of an inspection.

    ``datasets`` are splits of one dataset, whose cases are inspected together. ``explainer`` gives the heatmap that the
    page shows beside a picture, at the decided class. ``pictures``: the most cases whose pictures are on the page.
    ``rows``: images per pass.
    """

    output: Location
    datasets: Annotated[tuple[DatasetEntry, ...], AfterValidator(nonempty), AfterValidator(_single)]
    model: Model
    inspectors: Annotated[tuple[Inspector, ...], AfterValidator(nonempty)]
    explainer: Explainer | None = None
    pictures: Annotated[int, Field(ge=0, le=20_000), BeforeValidator(not_boolean)] = 500
    rows: Count = 16
    seed: Annotated[Seed, BeforeValidator(not_boolean)] = 0
    device: Device = "auto"
    threads: Annotated[Count, Field(le=1024)] | None = None
    cache: Location | bool = True

    def described(self) -> Mapping[str, Any]:
        """Return the config as plain data with absolute paths and all defaults."""
        settings: dict[str, Any] = plain(self)
        return settings | {
            "datasets": [entry.describe() for entry in self.datasets], "model": entry_of(self.model),
            "inspectors": [entry_of(inspector) for inspector in self.inspectors],
            "explainer": None if self.explainer is None else entry_of(self.explainer),
        }  # fmt: skip


def load(path: Path, catalog: Any, overrides: Sequence[str] = ()) -> InspectionConfig:
    """Read the config of an inspection; raises ``ConfigError`` with all mistakes, each with file and line."""
    return reading.load(path, InspectionConfig, catalog, overrides, "datasets, model and inspectors")
