"""Collects the best and worst cases of the leading combinations: images, scores and predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from heatproof.errors import HeatproofError
from heatproof.results.case_samples import Unit, prediction_units, prepared_sample
from heatproof.results.finished import Results
from heatproof.results.ranking import RankedCombination

from .board import Board
from .kept import KeptArrays, kept_arrays
from .overlay import Overlay, overlay

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """One case: its scores by measure, its label and prediction, and its images or the reason why they are missing."""

    case: str
    patient: str
    value: float
    scores: Mapping[str, float | None]
    prediction: Mapping[str, str] = field(default_factory=dict)
    image: Overlay | None = None
    kept: KeptArrays | None = None
    problem: str = ""


@dataclass(frozen=True)
class Gallery:
    """The best and the worst cases of one combination."""

    ranking: Board
    entry: RankedCombination
    groups: Mapping[str, Sequence[Example]]


@dataclass(frozen=True)
class Examples:
    """Makes the examples of one combination; the files that they share are read once."""

    results: Results
    entry: RankedCombination
    rows: Sequence[Row]

    @cached_property
    def units(self) -> Sequence[Unit]:
        """The prediction units of the combination; raises ``StoreError`` where there are none."""
        return prediction_units(self.results, self.entry.settings, {_unit_of(row) for row in self.rows})

    @cached_property
    def predictions(self) -> dict[str, Row]:
        """Case → the stored prediction of the combination's model; empty for maps that belong to no model."""
        if not self.entry.row["model"]:
            return {}
        units = [self.results.run.verified("predictions", unit["key"]) for unit in self.units]
        rows = self.results.query(
            "from read_parquet(?, hive_partitioning=false) where list_contains(?, \"case\") and status = 'valid'",
            [str(unit / "predictions.parquet") for unit in units],
            [row["case"] for row in self.rows],
        )
        return {row["case"]: row for row in rows}

    def example(self, row: Row, scores: Mapping[str, float | None]) -> Example:
        """Make the example of a row of scores; an error, of a plugin or a missing file, costs only its images."""
        example = Example(row["case"], row["patient"], row["value"], scores)
        try:
            return self._illustrated(example, row)
        except HeatproofError as error:
            problem = str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        return replace(example, problem=" ".join(problem.split()))

    def _illustrated(self, example: Example, row: Row) -> Example:
        """Add the images and the prediction to an example."""
        unit = self.units[0]
        prepared = prepared_sample(self.results, self.units, example.case)
        key = _unit_of(row)
        index = int(row["row"])
        heatmap = self.results.run.maps(key, index)
        arrays = self.results.run.kept(key, index)
        return replace(
            example,
            image=overlay(prepared.sample, prepared.original, heatmap, unit["findings"]),
            kept=kept_arrays(arrays, prepared.sample, heatmap, unit["classes"]["model"]),
            prediction=_class_names(self.predictions.get(example.case), unit["classes"]),
        )


def galleries(results: Results, ranking: Board) -> list[Gallery]:
    """Make a gallery of the best combination of every model that has heatmaps."""
    count = int(results.config.get("report", {}).get("examples", 2))
    if not count:
        return []
    leaders: dict[str, RankedCombination] = {}
    for entry in ranking.compared:
        if entry.row["explainer"] and entry.value == entry.value:
            leaders.setdefault(entry.row["model"], entry)
    return [_gallery(results, ranking, entry, count) for entry in leaders.values()]


def _gallery(results: Results, ranking: Board, entry: RankedCombination, count: int) -> Gallery:
    rows = scores(results, entry.row)
    ranked = [row for row in rows if row["measure"] == ranking.measures[0] and row["value"] is not None]
    ranked.sort(key=lambda row: float(row["value"]), reverse=ranking.standard.higher_is_better)
    best = ranked[:count]
    worst = ranked[count:][-count:][::-1]
    by_case: dict[str, dict[str, float | None]] = {}
    for row in rows:
        by_case.setdefault(row["case"], {})[row["measure"]] = row["value"]
    examples = Examples(results, entry, best + worst)
    groups = {
        name: [examples.example(row, by_case[row["case"]]) for row in group]
        for name, group in (("Best", best), ("Worst", worst))
    }
    return Gallery(ranking, entry, groups)


def scores(results: Results, row: Row) -> list[dict[str, Any]]:
    """Query the scores of the combination and metric that a summary row names, for all cases and measures, by case."""
    return results.query(
        'select "case", patient, measure, value, heatmap, row from scores '
        'where combination = ? and metric = ? and dataset = ? and split = ? order by "case", measure',
        *(row[name] for name in ("combination", "metric", "dataset", "split")),
    )


def _unit_of(row: Row) -> str:
    """The key of the unit of a row's heatmap."""
    return PurePosixPath(row["heatmap"]).parts[1]


def _class_names(row: Row | None, classes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Name the label and the decision of a prediction by their classes; empty without a prediction."""
    if row is None:
        return {}
    names = {}
    if row["label"]:
        names["label"] = ", ".join(classes["dataset"][index] for index in row["label"])
    names["predicted"] = classes["model"][row["decision"]]
    return names
