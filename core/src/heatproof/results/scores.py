"""The table ``scores.parquet``, built from the files of a run's units, and its cases by combination."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..imaging.losses import EXTRA, Losses, remark
from ..metric import Metric
from ..plan.keys import predictions_key
from ..plan.task import ASKING, Combination, Task, label, labels, told_apart
from ..records import Array
from ..spreadsheet import neutral
from .parquet import SCORE_COLUMNS, connect, copy_table, join_units, read_table, write_table
from .store import Run

SCORES = "scores.parquet"
"""The table of the scores of all cases."""
CANDIDATES: Mapping[str, str] = {"explainer": "candidates.parquet", "metric": "metric_candidates.parquet"}
"""Kind → the table of the same columns of the candidates among which settings of such components were selected."""
NAME_COLUMNS = ("dataset", "split", "model", "target", "explainer", "reduction")
COMBINATION_COLUMNS: Mapping[str, str] = {name: "VARCHAR" for name in (
    "combination", *NAME_COLUMNS, "verdict", "verdict_reason", "settings", "metric", "metric_settings",
)}  # fmt: skip
ORDER = ("dataset", "split", "model", "explainer", "target", "reduction", "combination", "metric", "metric_settings",
         "measure", '"case"', "heatmap")  # fmt: skip
"""The sort order of ``scores.parquet``: names before keys, for people who read it."""

Flags = Mapping[tuple[str, str, str], str]
"""(metric identity, dataset identity, split) → a remark on settings filled from a reported split."""


@dataclass(frozen=True)
class ScoredCombination:
    """One combination under one metric: its columns in tables, the metric's name, and the keys of its score units.

    ``dataset``, ``grid`` and ``model`` are identities, by which its random baseline is selected. ``family`` is that of
    the metric under which it is compared with others: the metric before it was tuned for this combination.
    ``repeats`` are units of equal heatmaps that belong to other targets, of each of which a case may have none.
    """

    columns: Mapping[str, str]
    metric: Metric
    name: str
    units: tuple[str, ...]
    baseline: bool
    flag: str = ""
    dataset: str = ""
    grid: str = ""
    model: str = ""
    family: str = ""
    repeats: tuple[tuple[str, ...], ...] = ()


def scored_combinations(
    tasks: Sequence[Task], flags: Flags, unfilled: Mapping[str, Metric], families: Mapping[str, str] | None = None,
    chosen: Mapping[tuple[str, str], str] | None = None, titles: Mapping[str, str] | None = None,
) -> list[ScoredCombination]:  # fmt: skip
    """Every combination × metric of a plan with its units; ``unfilled`` metrics, by identity of the filled, name it.

    ``families``: identity of a tuned metric → that of the metric before. ``chosen``: (dataset identity, split)
    → a remark on explainers selected on reported samples, which concerns every comparison with them. ``titles``:
    identity of a selected metric → the name of its entry.
    """
    families = families or {}
    chosen = chosen or {}
    named = {metric.identity: unfilled.get(metric.identity, metric) for metric in metrics_of(tasks)}
    metrics = told_apart(named.values())
    names = {
        **told_apart(task.source.dataset for task in tasks), **labels(task.model for task in tasks),
        **labels(unit.combination.explainer for task in tasks for unit in task.units),
        **{identity: metrics[metric.identity] for identity, metric in named.items()},
        **(titles or {}),
    }  # fmt: skip
    scored: dict[tuple[str, str, str], ScoredCombination] = {}
    units: dict[tuple[str, str, str], dict[str, dict[str, None]]] = {}
    for task in tasks:
        for origin, entry in _entries(task, flags, names):
            identity = entry.metric.identity
            key = (entry.columns["combination"], entry.columns["split"], identity)
            flag = joined(entry.flag, chosen.get((entry.dataset, entry.columns["split"]), ""))
            scored.setdefault(key, replace(entry, family=families.get(identity, identity), flag=flag))
            units.setdefault(key, {}).setdefault(origin, {}).update(dict.fromkeys(entry.units))
    return [_with_units(entry, list(units[key].values())) for key, entry in scored.items()]


def _with_units(entry: ScoredCombination, units: Sequence[Iterable[str]]) -> ScoredCombination:
    """The combination with the units of what was explained first, and those of equal heatmaps."""
    first, *repeats = map(tuple, units)
    return replace(entry, units=first, repeats=tuple(repeats))


def flagged(run: Run, scored: Iterable[ScoredCombination]) -> list[ScoredCombination]:
    """The combinations, flagged where the preparation loses annotated mass, by what their committed units say."""
    return [replace(entry, flag=joined(entry.flag, remark(_lost(run, entry.units)))) for entry in scored]


def _lost(run: Run, units: Iterable[str]) -> Iterable[tuple[str, Losses]]:
    """The losses of the samples of committed units of scores, by id."""
    for key in units:
        if run.has("scores", key):
            yield from run.meta("scores", key).get(EXTRA, {}).items()


def joined(*remarks: str) -> str:
    """The remarks that are not empty, without repetition, as one text."""
    return "; ".join(dict.fromkeys(filter(None, remarks)))


def metrics_of(tasks: Sequence[Task]) -> Iterable[Metric]:
    """The metrics of all tasks, for predictions and for heatmaps, with repetitions."""
    for task in tasks:
        yield from task.metrics
        for unit in task.units:
            yield from unit.metrics


def _entries(task: Task, flags: Flags, names: Mapping[str, str]) -> Iterable[tuple[str, ScoredCombination]]:
    """Every combination × metric of a task, after the key of the combination that was explained.

    ``names``: identity of a component → its name in the tables.
    """
    dataset = task.source.dataset.identity

    def entry(columns: Mapping[str, str], metric: Metric, key: str, baseline: bool, model: str) -> ScoredCombination:
        flag = flags.get((metric.identity, dataset, task.source.split), "")
        columns = {**columns, "dataset": names[dataset], "model": model and names[model]}
        grid = task.model.grid
        return ScoredCombination(columns, metric, names[metric.identity], (key,), baseline, flag, dataset, grid, model)

    for metric in task.metrics:
        columns = _model_columns(task)
        yield columns["combination"], entry(columns, metric, task.scores(metric), False, task.model.identity)
    for unit in task.units:
        for metric in unit.metrics:
            combination = judged_by(metric, unit.combination)
            model = task.model.identity
            if combination.model_free:
                model = ""
            baseline = combination.indifferent and "baseline" in combination.explainer.traits
            columns = _strings(combination.describe()) | {"explainer": names[combination.explainer.identity]}
            yield unit.combination.key, entry(columns, metric, unit.scores(metric), baseline, model)


def judged_by(metric: Metric, combination: Combination) -> Combination:
    """The combination as a metric judges it: model-free if neither its explainer nor the metric uses the model."""
    if metric.needs & ASKING or not combination.indifferent:
        return combination
    return replace(combination, judged=False, target="")


def _model_columns(task: Task) -> dict[str, str]:
    """The columns that name a task's model, for scores without heatmaps."""
    dataset = task.source.dataset
    model = task.model
    return _strings({
        **dict.fromkeys(("target", "explainer", "reduction", "verdict", "verdict_reason"), ""),
        "dataset": dataset.short, "split": task.source.split, "model": label(model),
        "combination": predictions_key(dataset.identity, model.identity),
        "settings": {"dataset": dataset.describe(), "model": model.describe(), "seed": task.seed},
    })  # fmt: skip


def _strings(columns: Mapping[str, Any]) -> dict[str, str]:
    """Columns as strings, everything else than strings as JSON."""
    return {name: value if isinstance(value, str) else _json(value) for name, value in columns.items()}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def write_scores(run: Run, scored: Sequence[ScoredCombination], name: str = SCORES) -> dict[str, Array]:
    """Rebuild a table of scores from the committed units in the order of ``ORDER``; returns its columns.

    Raises ``DamagedUnit`` before a damaged unit is read.
    """
    units = []
    for entry in scored:
        named = {**entry.columns, "metric": entry.name, "metric_settings": _json(entry.metric.describe())}
        row = [named[name] for name in COMBINATION_COLUMNS]
        for rank, keys in enumerate((entry.units, *entry.repeats)):
            paths = [run.verified("scores", key) / "scores.parquet" for key in keys if run.has("scores", key)]
            units += [[str(path), rank, *row] for path in paths]
    with run.replacing(name) as partial:
        if units:
            with connect() as connection:
                join_units(connection, units, COMBINATION_COLUMNS, ORDER)
                copy_table(connection, "joined", partial)
        else:
            write_table(partial, {**COMBINATION_COLUMNS, **SCORE_COLUMNS}, [])
        # Read before the rename: another shard may replace the file at any time.
        return read_table(partial)


@dataclass(frozen=True)
class Cases:
    """The cases of one combination under one metric; ``overall`` holds the status of each case, ``reasons`` why."""

    scored: ScoredCombination
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    values: Mapping[str, Array]
    statuses: Mapping[str, Sequence[str]]
    overall: Sequence[str] = ()
    reasons: Sequence[str] = ()

    @property
    def valid(self) -> bool:
        """Whether any case is valid in any measure."""
        return any("valid" in statuses for statuses in self.statuses.values())


def cases_of(table: Mapping[str, Array], scored: Sequence[ScoredCombination]) -> list[Cases]:
    """The cases of every combination × metric that has rows in a table of scores."""
    positions: dict[tuple[str, ...], list[int]] = {}
    names = ("combination", "split", "metric", "metric_settings")
    for position, key in enumerate(zip(*(table[name] for name in names))):
        positions.setdefault(key, []).append(position)
    cases = []
    for entry in scored:
        key = (entry.columns["combination"], entry.columns["split"], entry.name, _json(entry.metric.describe()))
        if key in positions:
            cases.append(_cases(entry, {name: values[positions[key]] for name, values in table.items()}))
    return cases


def _cases(scored: ScoredCombination, table: Mapping[str, Array]) -> Cases:
    """Pivot a combination's rows to one array per measure; a case without a row for a measure has NaN there."""
    ids, first, position, counts = np.unique(
        table["case"].astype(str), return_index=True, return_inverse=True, return_counts=True
    )
    invalid = table["status"] != "valid"
    # A case that could not be measured has one row, for the primary measure, which other cases need not have.
    unmeasured = invalid & (counts[position] == 1)
    absent = np.full(len(ids), "excluded", dtype=object)
    absent[position[unmeasured]] = table["status"][unmeasured]
    overall = np.full(len(ids), "valid", dtype=object)
    overall[position[invalid]] = table["status"][invalid]
    reasons = np.full(len(ids), "", dtype=object)
    reasons[position[invalid]] = table["reason"][invalid]
    values: dict[str, Array] = {}
    statuses: dict[str, list[str]] = {}
    for measure in sorted(set(table["measure"][~unmeasured])):
        rows = table["measure"] == measure
        values[measure] = _column(table["value"][rows], table["array"][rows], position[rows], len(ids))
        status = absent.copy()
        status[position[rows]] = table["status"][rows]
        statuses[measure] = status.tolist()
    patients = tuple(table["patient"][first].tolist())
    return Cases(scored, tuple(ids.tolist()), patients, values, statuses, overall.tolist(), reasons.tolist())


def _column(values: Array, arrays: Array, position: Array, count: int) -> Array:
    """One measure of all cases (cases,), or (cases, points) if it is an array per case."""
    length = max((len(array) for array in arrays if array is not None), default=None)
    if length is None:
        column = np.full(count, np.nan)
        column[position] = values.astype(np.float64)
        return column
    curves = np.full((count, length), np.nan)
    for index, array in zip(position, arrays):
        if array is not None:
            curves[index, : len(array)] = array
    return curves


def name_of(columns: Mapping[str, str]) -> str:
    """The short name of a combination, such as ``network × method``; usual targets and reductions are not named."""
    parts = [columns["model"], columns["explainer"]]
    for name, usual in (("target", ("logit", "predicted")), ("reduction", ("max",))):
        if columns[name] not in usual:
            parts.append(columns[name])
    return " × ".join(filter(None, parts))


def write_csv(run: Run, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV in one step; NaN becomes an empty field, and text that looks like a formula plain text."""
    lines = [columns, *([_cell(row[key]) for key in columns] for row in rows)]
    run.write(name, "".join(map(_line, lines)))


def _line(cells: Sequence[Any]) -> str:
    """A line of a CSV file; the end of line of RFC 4180 has cells with a carriage return quoted, too."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and np.isnan(value) else neutral(value)
