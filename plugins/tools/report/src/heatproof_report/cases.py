"""Collects the cases that stand for the first combinations: images, scores and predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from heatproof.errors import HeatproofError
from heatproof.results.finished import Results
from heatproof.results.ranking import RankedCombination

from .board import Board
from .collection import Collection
from .kept import KeptArrays, kept_arrays
from .overlay import Overlay, overlay
from .picks import picks, scores

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
    """The cases that stand for one combination: best, worst, median and typical."""

    ranking: Board
    entry: RankedCombination
    collection: Collection
    method: str
    groups: Mapping[str, Sequence[Example]]


def galleries(results: Results, ranking: Board, collected: Sequence[Collection]) -> list[Gallery]:
    """Make a gallery of the best combination of every model that has heatmaps."""
    count = int(results.config.get("report", {}).get("examples", 2))
    if not count:
        return []
    leaders: dict[str, RankedCombination] = {}
    for entry in ranking.compared:
        if entry.row["explainer"] and entry.value == entry.value:
            leaders.setdefault(entry.row["model"], entry)
    parts_of = [(entry, *owner(collected, entry)) for entry in leaders.values()]
    return [_gallery(results, ranking, *parts, count) for parts in parts_of]


def owner(collected: Sequence[Collection], entry: RankedCombination) -> tuple[Collection, str]:
    """Return the collection with the heatmaps of a combination, and the name of its method there."""
    for collection in collected:
        method = collection.method_of(entry.row["combination"])
        if method is not None and (collection.dataset, collection.split) == (entry.row["dataset"], entry.row["split"]):
            return collection, method
    raise HeatproofError(f"{entry.name} has no heatmaps in this run; run the same config again.")


def methods_by_rank(ranked: Sequence[Board], collection: Collection) -> list[str]:
    """The methods of a collection in the order of its first ranking that has them, random baselines last."""
    names: dict[str, None] = {}
    for entry in sorted((entry for board in ranked for entry in board.entries), key=lambda entry: entry.baseline):
        if (entry.row["dataset"], entry.row["split"]) == (collection.dataset, collection.split):
            name = collection.method_of(entry.row["combination"])
            names |= dict.fromkeys(filter(None, [name]))
    return list(names | dict.fromkeys(collection.methods))


def _gallery(
    results: Results, ranking: Board, entry: RankedCombination, collection: Collection, method: str, count: int
) -> Gallery:
    rows = scores(results, entry.row)
    by_case: dict[str, dict[str, float | None]] = {}
    for row in rows:
        by_case.setdefault(row["case"], {})[row["measure"]] = row["value"]
    primary = {row["case"]: row for row in rows if row["measure"] == ranking.measures[0]}
    selected = picks(rows, ranking.measures[0], ranking.standard.higher_is_better, count)
    groups = {
        group: [_example(collection, method, primary[case], by_case[case]) for case in cases]
        for group, cases in selected.items()
    }
    return Gallery(ranking, entry, collection, method, groups)


def _example(collection: Collection, method: str, row: Row, values: Mapping[str, float | None]) -> Example:
    """Make the example of a row of scores; an error, of a plugin or a missing file, costs only its images."""
    example = Example(row["case"], row["patient"], row["value"], values)
    try:
        return _illustrated(example, collection, method)
    except HeatproofError as error:
        problem = str(error)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    return replace(example, problem=" ".join(problem.split()))


def _illustrated(example: Example, collection: Collection, method: str) -> Example:
    """Add the images and the prediction to an example."""
    unit = collection.units[0]
    prepared = collection.sample(example.case)
    key, index = collection.heatmaps[method, example.case]
    heatmap = collection.results.run.maps(key, index)
    arrays = collection.results.run.kept(key, index)
    return replace(
        example,
        image=overlay(prepared.sample, prepared.original, heatmap, unit["findings"]),
        kept=kept_arrays(arrays, prepared.sample, heatmap, unit["classes"]["model"]),
        prediction=collection.classes(example.case),
    )
