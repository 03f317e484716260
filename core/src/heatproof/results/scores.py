"""A run's tables of cases, built from its units' own files: ``scores.parquet``, read back by combination."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from ..digests import digest
from ..errors import StoreError
from ..metric import Metric
from ..plan.task import ASKING, Combination, Task, label, told_apart
from ..records import Array
from .parquet import SCORE_COLUMNS, connect, copy_table, fill_table, read_table, write_table
from .store import Run, write_text

PLACE = ("dataset", "split", "model", "target", "explainer", "reduction")
PLACE_COLUMNS: Mapping[str, str] = {name: "VARCHAR" for name in (
    "combination", *PLACE, "verdict", "verdict_reason", "settings", "metric", "metric_settings",
)}  # fmt: skip
ORDER = ("dataset", "split", "model", "explainer", "target", "reduction", "combination", "metric", "metric_settings",
         "measure", '"case"', "heatmap")  # fmt: skip
"""How ``scores.parquet`` is sorted; the key comes late so that a reader finds his way."""

Flags = Mapping[tuple[str, str, str], str]
"""(metric identity, dataset identity, split) → a remark on what was filled where."""


@dataclass(frozen=True)
class Scored:
    """One combination under one metric: which score units belong to it, and how they are named in the tables.

    ``name`` is the metric's in the tables. ``dataset``, ``grid`` and ``model`` are identities: the same samples on the
    same grid have one random baseline, or one per model and target where maps are judged by these.
    """

    place: Mapping[str, str]
    metric: Metric
    name: str
    units: tuple[str, ...]
    baseline: bool
    flag: str = ""
    dataset: str = ""
    grid: str = ""
    model: str = ""


def scored(tasks: Sequence[Task], flags: Flags, given: Mapping[str, Metric]) -> list[Scored]:
    """Every combination × metric of a plan with its score units, in the order of the plan.

    ``given`` holds by identity the metrics as configured, before their open Params were filled: those name them.
    """
    datasets = told_apart(task.source.dataset for task in tasks)
    configured = {metric.identity: given.get(metric.identity, metric) for metric in metrics_of(tasks)}
    names = told_apart(configured.values())
    metrics = {identity: names[metric.identity] for identity, metric in configured.items()}
    found: dict[tuple[str, str, str], Scored] = {}
    origins: dict[tuple[str, str, str], str] = {}
    for task in tasks:
        for origin, entry in _scored(task, flags, datasets, metrics):
            name = (entry.place["combination"], entry.place["split"], entry.metric.identity)
            if origins.setdefault(name, origin) == origin:
                earlier = found[name].units if name in found else ()
                found[name] = replace(entry, units=tuple(dict.fromkeys((*earlier, *entry.units))))
    return list(found.values())


def metrics_of(tasks: Sequence[Task]) -> Iterable[Metric]:
    """The metrics of all tasks, of their predictions and of their heatmaps, as often as they are planned."""
    for task in tasks:
        yield from task.metrics
        for unit in task.units:
            yield from unit.metrics


def _scored(
    task: Task, flags: Flags, datasets: Mapping[str, str], metrics: Mapping[str, str]
) -> Iterable[tuple[str, Scored]]:
    """Every entry of a task, with the combination that its units are of."""
    dataset, grid = task.source.dataset.identity, task.model.grid

    def entry(place: Mapping[str, str], metric: Metric, key: str, baseline: bool, model: str) -> Scored:
        flag = flags.get((metric.identity, dataset, task.source.split), "")
        named = {**place, "dataset": datasets[dataset]}
        return Scored(named, metric, metrics[metric.identity], (key,), baseline, flag, dataset, grid, model)

    for metric in task.metrics:
        place = _model_place(task)
        yield place["combination"], entry(place, metric, task.scores(metric), False, task.model.identity)
    for unit in task.units:
        for metric in unit.metrics:
            seen = _as_seen(unit.combination, metric)
            model = "" if seen.model_free else task.model.identity
            traits = seen.explainer.traits
            place, key = _written(seen.describe()), unit.scores(metric)
            yield unit.combination.key, entry(place, metric, key, "baseline" in traits and seen.indifferent, model)


def _as_seen(combination: Combination, metric: Metric) -> Combination:
    """A model-free map that others judge by a model is one and the same for a metric that does not ask about models."""
    if metric.needs & ASKING or not combination.indifferent:
        return combination
    return replace(combination, judged=False, target="")


def _model_place(task: Task) -> dict[str, str]:
    """The columns of a row that belongs to a model rather than to a heatmap."""
    dataset, model = task.source.dataset, task.model
    return _written({
        **dict.fromkeys(("target", "explainer", "reduction", "verdict", "verdict_reason"), ""),
        "dataset": dataset.short,
        "split": task.source.split,
        "model": label(model),
        "combination": digest([dataset.identity, model.identity]),
        "settings": {"dataset": dataset.describe(), "model": model.describe(), "seed": task.seed},
    })  # fmt: skip


def _written(place: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for name, value in place.items()
    }


def _metric_settings(metric: Metric) -> str:
    return json.dumps(metric.describe(), sort_keys=True)


def write_scores(run: Run, rows: Sequence[Scored]) -> dict[str, Array]:
    """Rebuild ``scores.parquet`` from the committed units, sorted by key; returns its columns."""
    places = [name for name in PLACE_COLUMNS if not name.startswith("metric")]
    index = [
        [str(run.unit("scores", key) / "scores.parquet"), *(entry.place[name] for name in places), entry.name,
         _metric_settings(entry.metric)]
        for entry in rows for key in entry.units if run.has("scores", key)
    ]  # fmt: skip
    with run.replacing("scores.parquet") as partial:
        if index:
            with connect() as connection:
                _join(connection, index)
                copy_table(connection, "joined", partial)
        else:
            write_table(partial, {**PLACE_COLUMNS, **SCORE_COLUMNS}, [])
        # Read before the rename: another shard may replace the file at any time.
        return read_table(partial)


def _join(connection: duckdb.DuckDBPyConnection, index: list[list[str]]) -> None:
    """Join the units' rows with the columns that name their combination, as the table ``joined``."""
    fill_table(connection, "units", {"filename": "VARCHAR", **PLACE_COLUMNS}, index)
    chosen = ", ".join([*(f"units.{name}" for name in PLACE_COLUMNS), *(f"scores.{name}" for name in SCORE_COLUMNS)])
    files = sorted({row[0] for row in index})
    try:
        connection.execute(
            f"create temp table joined as select {chosen} "
            "from read_parquet(?, filename=true, hive_partitioning=false) scores "
            f"join units on scores.filename = units.filename order by {', '.join(ORDER)}",
            [files],
        )
    except duckdb.Error as error:
        for path in files:
            read_table(Path(path))
        raise StoreError(f"the scores of this run cannot be read ({str(error).splitlines()[0]}).") from error


@dataclass(frozen=True)
class Cases:
    """All cases of one combination under one metric: measurements aligned with ids and patients.

    ``overall`` is the status of each case as a whole, for measures that summarise several measurements.
    """

    entry: Scored
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    values: Mapping[str, Array]
    statuses: Mapping[str, Sequence[str]]
    overall: Sequence[str] = ()


def cases_of(table: Mapping[str, Array], rows: Sequence[Scored]) -> list[Cases]:
    """The cases of every combination × metric in a table of scores; those without any are left out."""
    positions: dict[tuple[str, str, str], list[int]] = {}
    for position, key in enumerate(zip(table["combination"], table["split"], table["metric_settings"])):
        positions.setdefault(key, []).append(position)
    keys = [(entry.place["combination"], entry.place["split"], _metric_settings(entry.metric)) for entry in rows]
    return [
        _cases(entry, {name: values[positions[key]] for name, values in table.items()})
        for entry, key in zip(rows, keys)
        if key in positions
    ]


def _cases(entry: Scored, table: Mapping[str, Array]) -> Cases:
    """Pivot a combination's rows to one array per measure; a case without a row of a measure has NaN there."""
    ids, first, position, counts = np.unique(
        table["case"].astype(str), return_index=True, return_inverse=True, return_counts=True
    )
    void = table["status"] != "valid"
    # A case that could not be measured has one row, named by the primary measure, which need not be measured at all.
    unmeasured = void & (counts[position] == 1)
    absent, overall = np.full(len(ids), "excluded", dtype=object), np.full(len(ids), "valid", dtype=object)
    absent[position[unmeasured]], overall[position[void]] = table["status"][unmeasured], table["status"][void]
    values, statuses = {}, {}
    for measure in sorted(set(table["measure"][~unmeasured])):
        chosen = table["measure"] == measure
        values[measure] = _column(table, chosen, position[chosen], len(ids))
        status = absent.copy()
        status[position[chosen]] = table["status"][chosen]
        statuses[measure] = status.tolist()
    patients = tuple(table["patient"][first].tolist())
    return Cases(entry, tuple(ids.tolist()), patients, values, statuses, overall.tolist())


def _column(table: Mapping[str, Array], chosen: Array, position: Array, count: int) -> Array:
    """One measure of all cases (cases,), or (cases, points) for arrays."""
    arrays = [entry for entry in table["array"][chosen] if entry is not None]
    if not arrays:
        column = np.full(count, np.nan)
        column[position] = table["value"][chosen].astype(np.float64)
        return column
    curve = np.full((count, max(map(len, arrays))), np.nan)
    for place, array in zip(position, table["array"][chosen]):
        if array is not None:
            curve[place, : len(array)] = array
    return curve


def name_of(place: Mapping[str, str]) -> str:
    """A combination in a few words: ``network × method``."""
    extra = [place[name] for name, usual in (("target", ("logit", "predicted", "")), ("reduction", ("max", "")))
             if place[name] not in usual]  # fmt: skip
    return " × ".join([part for part in (place["model"], place["explainer"]) if part] + extra)


def write_csv(run: Run, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV in one step; a missing number is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(row[key]) for key in columns} for row in rows)
    write_text(run.folder / name, text.getvalue())


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and np.isnan(value) else value
