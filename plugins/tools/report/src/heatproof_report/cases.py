"""The best and worst cases of the leading combinations: images, scores and predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from heatproof.errors import HeatproofError
from heatproof.results.finished import Results
from heatproof.results.ranking import RankedCombination

from .board import Board
from .kept import Kept, kept
from .overlay import Overlay, overlay
from .samples import prediction_units, prepared_sample

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """One case: its scores by measure, what was expected and predicted, and its images or why there are none."""

    case: str
    patient: str
    value: float
    scores: Mapping[str, float | None]
    prediction: Mapping[str, str] = field(default_factory=dict)
    image: Overlay | None = None
    kept: Kept | None = None
    problem: str = ""


@dataclass(frozen=True)
class Gallery:
    """The best and the worst cases of one combination."""

    ranking: Board
    entry: RankedCombination
    groups: Mapping[str, Sequence[Example]]


def galleries(results: Results, ranking: Board) -> list[Gallery]:
    """The best combination of every model that has heatmaps."""
    count = int(results.config.get("report", {}).get("examples", 2))
    leaders: dict[str, RankedCombination] = {}
    for entry in ranking.compared:
        if entry.row["explainer"] and entry.value == entry.value:
            leaders.setdefault(entry.row["model"], entry)
    return [_gallery(results, ranking, entry, count) for entry in leaders.values() if count]


def _gallery(results: Results, ranking: Board, entry: RankedCombination, count: int) -> Gallery:
    rows = scores(results, entry.row)
    ranked = [row for row in rows if row["measure"] == ranking.measures[0] and row["value"] is not None]
    ranked.sort(key=lambda row: float(row["value"]), reverse=ranking.standard.higher_is_better)
    groups = {"Best": ranked[:count], "Worst": ranked[count:][-count:][::-1]}
    predictions = _predictions(results, entry, [row["case"] for some in groups.values() for row in some])
    by_measure: dict[str, dict[str, float | None]] = {}
    for row in rows:
        by_measure.setdefault(row["case"], {})[row["measure"]] = row["value"]
    examples = {
        name: [_example(results, entry, row, by_measure[row["case"]], predictions.get(row["case"])) for row in some]
        for name, some in groups.items()
    }
    return Gallery(ranking, entry, examples)


def scores(results: Results, row: Row) -> list[dict[str, Any]]:
    """All cases and measures of the combination and metric that a summary row names, by case."""
    return results.query(
        'select "case", patient, measure, value, heatmap, row from scores '
        'where combination = ? and metric = ? and dataset = ? and split = ? order by "case", measure',
        *(row[name] for name in ("combination", "metric", "dataset", "split")),
    )


def _example(
    results: Results, entry: RankedCombination, row: Row, values: Mapping[str, float | None], prediction: Row | None
) -> Example:
    """A case with its images; whatever a plugin, or a folder that was moved, raises costs these alone."""
    example = Example(row["case"], row["patient"], row["value"], values)
    try:
        unit = prediction_units(results, entry.settings)[0]
        prepared = prepared_sample(results, entry.settings, row["case"])
        stored = PurePosixPath(row["heatmap"]).parts[1], int(row["row"])
        heatmap = results.run.maps(*stored)
        arrays = results.run.kept(*stored)
        return replace(
            example,
            image=overlay(prepared.sample, prepared.original, heatmap, unit["findings"]),
            kept=kept(arrays, prepared.sample, heatmap, unit["classes"]["model"]),
            prediction=_words(prediction, unit["classes"]),
        )
    except Exception as error:
        problem = str(error) if isinstance(error, HeatproofError) else f"{type(error).__name__}: {error}"
        return replace(example, problem=" ".join(problem.split()))


def _predictions(results: Results, entry: RankedCombination, cases: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Case → the stored prediction of the entry's model; none for maps that belong to no model."""
    if not entry.row["model"]:
        return {}
    units = [results.run.unit("predictions", unit["key"]) for unit in prediction_units(results, entry.settings)]
    rows = results.query(
        "from read_parquet(?, hive_partitioning=false) where list_contains(?, \"case\") and status = 'valid'",
        [str(unit / "predictions.parquet") for unit in units],
        list(cases),
    )
    return {row["case"]: row for row in rows}


def _words(row: Row | None, classes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Label and decision by name, as far as they are known."""
    if row is None:
        return {}
    label = {"label": ", ".join(classes["dataset"][index] for index in row["label"])} if row["label"] else {}
    return label | {"predicted": classes["model"][row["decision"]]}
