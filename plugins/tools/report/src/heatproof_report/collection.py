"""The cases of one dataset split with all heatmaps of one model: what the figures and the browser of cases show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from heatproof.plan.sample_file import PreparedSample
from heatproof.records import Array
from heatproof.results.case_samples import Row, Unit, class_names, prediction_units, predictions, prepared_sample
from heatproof.results.finished import Results
from heatproof.results.joined import joined_key

RECENT = 24
"""How many prepared samples stay in memory: those of the examples are read once for the page and its figures."""
COLUMNS = 'dataset, split, model, explainer, target, reduction, combination, metric, "case", patient, heatmap, row'
USUAL = ("", "logit", "predicted", "max")
"""Targets and reductions that the name of a method leaves out."""


@dataclass
class Collection:
    """The cases and methods of one dataset split and model.

    ``methods``: name → the keys of its combinations. ``heatmaps``: method, case → the key of a unit and a row.
    ``settings`` are those of the dataset and the model; ``model`` is the label of the model.
    """

    results: Results
    dataset: str
    split: str
    model: str
    settings: Mapping[str, Any]
    methods: dict[str, set[str]] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    heatmaps: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    _recent: dict[str, PreparedSample] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Dataset, split and model in a line."""
        return " · ".join(filter(None, (self.dataset, self.split, self.model)))

    @property
    def cases(self) -> list[str]:
        """The ids of all cases, sorted, also of those without a heatmap."""
        return sorted(self.patients)

    @cached_property
    def units(self) -> Sequence[Unit]:
        """The prediction units; raises ``StoreError`` where there are none."""
        return prediction_units(self.results, self.settings, {key for key, _ in self.heatmaps.values()})

    @cached_property
    def predictions(self) -> dict[str, Row]:
        """Case → the stored prediction of the model."""
        return predictions(self.results, self.units, self.cases)

    def method_of(self, combination: str) -> str | None:
        """The name of the method that a combination belongs to; None where it is not among them."""
        return next((name for name, keys in self.methods.items() if combination in keys), None)

    def classes(self, case: str) -> dict[str, str]:
        """Name the label and the decision of a case."""
        return class_names(self.predictions.get(case), self.units[0]["classes"])

    def sample(self, case: str) -> PreparedSample:
        """Load a case as the model prepared it; raises what loading and preparing raise."""
        if case not in self._recent:
            sample = prepared_sample(self.results, self.units, case)
            if len(self._recent) >= RECENT:
                del self._recent[next(iter(self._recent))]
            self._recent[case] = sample
        return self._recent[case]

    def heatmap(self, method: str, case: str) -> Array | None:
        """Read the heatmap (*space) of a method; None where there is none, or one that is not finite."""
        stored = self.heatmaps.get((method, case))
        if stored is None:
            return None
        values = self.results.run.maps(*stored)
        if not np.isfinite(values).all():
            return None
        return values


def collections(results: Results) -> list[Collection]:
    """Collect the heatmaps of a run by dataset split and model; maps of no model join the model of their grid.

    Those of joined runs have the name of their run.
    """
    gathered = []
    for name, part in results.parts.items():
        for collection in _collections(part):
            if name:
                collection.model = f"{name}: {collection.model}"
                collection.methods = {
                    method: {joined_key(name, key) for key in keys} for method, keys in collection.methods.items()
                }
            gathered.append(collection)
    return gathered


def _collections(results: Results) -> list[Collection]:
    scored = results.query(f"select distinct {COLUMNS} from scores where heatmap is not null order by all")
    rows: list[Row] = [*map(partial(_with_settings, results), scored), *_unscored(results)]
    rows.sort(key=lambda row: not row["model"])
    gathered: list[Collection] = []
    for row in rows:
        settings = row["settings"]
        model = settings["model"].get("grid_of", settings["model"])
        collection = _matching(gathered, row, settings["dataset"], model)
        if collection is None:
            name = row["model"] or model["use"].rpartition("/")[2]
            owner = {"dataset": settings["dataset"], "model": model}
            collection = Collection(results, row["dataset"], row["split"], name, owner)
            gathered.append(collection)
        _add(collection, row)
    everyone = results.query('select distinct dataset, split, "case", patient from scores order by all')
    for collection in gathered:
        for row in everyone:
            if (row["dataset"], row["split"]) == (collection.dataset, collection.split):
                collection.patients.setdefault(row["case"], row["patient"])
    return gathered


def _with_settings(results: Results, row: Row) -> Row:
    return {**row, "settings": results.described[row["combination"], row["metric"]]["settings"]}


def _unscored(results: Results) -> Iterator[Row]:
    """The rows of heatmaps that no metric scores."""
    for key in results.unscored:
        unit = results.run.meta("heatmaps", key)
        table = results.run.table("predictions", unit["predictions"])
        patients = dict(zip(table["case"], table["patient"]))
        for index, case in enumerate(unit["cases"]):
            id = unit["ids"][index]
            if case["status"] == "valid":
                yield {**unit, "case": id, "patient": patients[id], "heatmap": f"heatmaps/{key}", "row": index}


def _matching(gathered: Sequence[Collection], row: Row, dataset: Any, model: Any) -> Collection | None:
    for collection in gathered:
        same_cases = (collection.dataset, collection.split) == (row["dataset"], row["split"])
        same_model = row["model"] in ("", collection.model)
        if same_cases and same_model and collection.settings == {"dataset": dataset, "model": model}:
            return collection
    return None


def _add(collection: Collection, row: Row) -> None:
    name = method_name(row)
    collection.methods.setdefault(name, set()).add(row["combination"])
    collection.patients[row["case"]] = row["patient"]
    collection.heatmaps[name, row["case"]] = (PurePosixPath(row["heatmap"]).parts[1], int(row["row"]))


def method_name(row: Row) -> str:
    """The explainer of a combination, with an unusual target or reduction."""
    parts = [row["explainer"], *(row[name] for name in ("target", "reduction") if row[name] not in USUAL)]
    return " × ".join(parts)
