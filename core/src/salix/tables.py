"""A run's tables, built from its units' own files: scores, predictions, the summary and the comparisons."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations as pairs
from typing import Any

import numpy as np

from .metric import Metric
from .plan import Combination, Task
from .records import Array
from .statistics import PairedTest, Summary, holm, paired_test, summarise_cases
from .store import SCORE_COLUMNS, Run, connect, read_table, write_table, write_text

PLACE = ("dataset", "split", "model", "target", "explainer", "reduction")
PLACE_COLUMNS: Mapping[str, str] = {name: "VARCHAR" for name in (
    "combination", *PLACE, "verdict", "verdict_reason", "settings", "metric", "metric_settings",
)}  # fmt: skip
SUMMARY_COLUMNS = (
    *PLACE, "metric", "measure", "value", "low", "high", "confidence", "n_valid", "n_failed", "n_excluded", "n_invalid",
    "n_patients", "resamples", "undefined_resamples", "difference_to_random", "p_random", "p_random_holm", "verdict",
    "flag", "combination",
)  # fmt: skip
COMPARISON_COLUMNS = (
    "dataset", "split", "metric", "measure", "a", "b", "difference", "p", "p_holm", "permutations", "exact", "n_cases",
    "n_patients", "combination_a", "combination_b",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How results are summarised."""

    resamples: int
    permutations: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Scored:
    """One combination under one metric: which score units belong to it, and how they are named in the tables."""

    place: Mapping[str, str]
    metric: Metric
    units: tuple[str, ...]
    baseline: bool
    flag: str = ""


def scored(tasks: Sequence[Task], flags: Mapping[str, str]) -> list[Scored]:
    """Every combination × metric of a plan with its score units, in the order of the plan."""
    found: dict[tuple[str, str, str, str], Scored] = {}
    for task in tasks:
        for key, place, metric, baseline in _places(task):
            name = (place["combination"], place["split"], metric.identity, place["dataset"])
            earlier = found[name].units if name in found else ()
            found[name] = Scored(place, metric, (*earlier, key), baseline, flags.get(metric.identity, ""))
    return list(found.values())


def _places(task: Task) -> Iterable[tuple[str, dict[str, str], Metric, bool]]:
    for metric in task.metrics:
        yield task.scores(metric), _model_place(task), metric, False
    for unit in task.units:
        place = _written(unit.combination.describe())
        for metric in unit.metrics:
            yield unit.scores(metric), place, metric, _is_baseline(unit.combination)


def _is_baseline(combination: Combination) -> bool:
    return combination.explainer.short == "random" and combination.model_free


def _model_place(task: Task) -> dict[str, str]:
    """The columns of a row that belongs to a model rather than to a heatmap."""
    settings = {"dataset": task.source.dataset.describe(), "model": task.model.describe(), "seed": task.seed}
    names = {"dataset": task.source.dataset.short, "split": task.source.split, "model": task.model.short}
    empty = dict.fromkeys(("target", "explainer", "reduction", "verdict", "verdict_reason"), "")
    return _written({**empty, **names, "combination": task.model.identity, "settings": settings})


def _written(place: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for name, value in place.items()
    }


def write_scores(run: Run, rows: Sequence[Scored]) -> int:
    """Rebuild ``scores.parquet`` from the committed units, sorted by key; returns the number of rows."""
    index = [
        [str(run.unit("scores", key) / "scores.parquet"), *(entry.place[name] for name in _place_names()),
         entry.metric.short, json.dumps(entry.metric.describe(), sort_keys=True)]
        for entry in rows for key in entry.units if run.has("scores", key)
    ]  # fmt: skip
    with run.replacing("scores.parquet") as partial:
        if not index:
            write_table(partial, PLACE_COLUMNS | SCORE_COLUMNS, [])
            return 0
        return _join(index, partial)


def _place_names() -> list[str]:
    return [name for name in PLACE_COLUMNS if not name.startswith("metric")]


def _join(index: list[list[str]], partial: Any) -> int:
    """Join the units' rows with the columns that name their combination."""
    with connect() as connection:
        columns = ", ".join(f"{name} {kind}" for name, kind in {"filename": "VARCHAR", **PLACE_COLUMNS}.items())
        connection.execute(f"create table units ({columns})")
        connection.executemany(f"insert into units values ({', '.join('?' * (len(PLACE_COLUMNS) + 1))})", index)
        connection.execute("create table paths as select distinct filename from units")
        chosen = ", ".join(
            [*(f"units.{name}" for name in PLACE_COLUMNS), *(f"scores.{name}" for name in SCORE_COLUMNS)]
        )
        order = ", ".join(["dataset", "split", "model", "explainer", "target", "reduction", "combination", "metric",
                           "metric_settings", "measure", '"case"'])  # fmt: skip
        files = [path for (path,) in connection.execute("select filename from paths order by 1").fetchall()]
        connection.execute(
            f"create table joined as select {chosen} from read_parquet(?, filename=true) scores "
            f"join units on scores.filename = units.filename order by {order}",
            [files],
        )
        connection.execute(f"copy joined to '{str(partial).replace(chr(39), chr(39) * 2)}' (format parquet)")
        count = connection.execute("select count(*) from joined").fetchone()
    return int(count[0]) if count else 0


@dataclass(frozen=True)
class Cases:
    """All cases of one combination under one metric: measurements aligned with ids and patients."""

    entry: Scored
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    values: Mapping[str, Array]
    statuses: Mapping[str, Sequence[str]]


def read_cases(run: Run, rows: Sequence[Scored]) -> list[Cases]:
    """The cases of every combination × metric, from ``scores.parquet``."""
    table = read_table(run.folder / "scores.parquet")
    keys = list(zip(table["combination"], table["split"], table["dataset"], table["metric_settings"]))
    bounds = [place for place in range(len(keys)) if place == 0 or keys[place] != keys[place - 1]] + [len(keys)]
    spans: dict[Any, list[slice]] = {}
    for start, stop in zip(bounds, bounds[1:]):
        spans.setdefault(keys[start], []).append(slice(start, stop))
    found = []
    for entry in rows:
        key = (entry.place["combination"], entry.place["split"], entry.place["dataset"],
               json.dumps(entry.metric.describe(), sort_keys=True))  # fmt: skip
        parts = spans.get(key, [])
        if parts:
            found.append(
                _cases(
                    entry, {name: np.concatenate([values[part] for part in parts]) for name, values in table.items()}
                )
            )
    return found


def _cases(entry: Scored, table: Mapping[str, Array]) -> Cases:
    """Pivot a combination's rows to one array per measure; a case without a row of a measure has NaN there."""
    ids, first = np.unique(table["case"].astype(str), return_index=True)
    position = np.searchsorted(ids, table["case"].astype(str))
    overall = np.full(len(ids), "excluded", dtype=object)
    others = table["status"] != "valid"
    overall[position[others]] = table["status"][others]
    values, statuses = {}, {}
    for measure in sorted(set(table["measure"])):
        chosen = table["measure"] == measure
        values[measure] = _column(table, chosen, position[chosen], len(ids))
        status = overall.copy()
        status[position[chosen]] = table["status"][chosen]
        statuses[measure] = status.tolist()
    return Cases(entry, tuple(ids.tolist()), tuple(table["patient"][first].tolist()), values, statuses)


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


def summaries(cases: Sequence[Cases], settings: Settings) -> list[dict[str, Any]]:
    """The rows of ``summary.csv``: value, interval, counts, and the comparison with the random baseline."""
    rows = []
    for entry in cases:
        made = summarise_cases(
            entry.entry.metric.summarise, entry.values, entry.patients, settings.resamples, settings.confidence,
            settings.seed,
        )  # fmt: skip
        baseline = _baseline(entry, cases)
        for measure, summary in made.items():
            test = _tested(entry, baseline, measure, settings)
            rows.append(_summary_row(entry, measure, summary, test, settings))
    for chosen in _families(rows, ("dataset", "split", "metric", "measure")):
        for row, adjusted in zip(chosen, holm(np.array([row["p_random"] for row in chosen], dtype=np.float64))):
            row["p_random_holm"] = float(adjusted)
    return rows


def _families(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The rows that one table shows together; Holm's correction covers each family."""
    families: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(families.values())


def _baseline(entry: Cases, cases: Sequence[Cases]) -> Cases | None:
    """The random baseline on the same samples under the same metric."""
    if entry.entry.baseline:
        return None
    for other in cases:
        if (
            other.entry.baseline
            and other.entry.metric.identity == entry.entry.metric.identity
            and other.ids == entry.ids
        ):
            return other
    return None


def _tested(entry: Cases, other: Cases | None, measure: str, settings: Settings) -> PairedTest | None:
    if other is None or measure not in other.values:
        return None
    metric = entry.entry.metric
    # The mean of a measure needs no other measure, and there are many pairs.
    names = [measure] if type(metric).summarise is Metric.summarise else list(entry.values)
    a, b = ({name: case.values[name] for name in names if name in case.values} for case in (entry, other))
    return paired_test(
        metric.summarise, a, b, entry.patients, measure, settings.permutations, settings.seed
    )


def _summary_row(
    entry: Cases, measure: str, summary: Summary, test: PairedTest | None, settings: Settings
) -> dict[str, Any]:
    statuses = entry.statuses.get(measure) or next(iter(entry.statuses.values()))
    counts = {f"n_{status}": statuses.count(status) for status in ("valid", "excluded", "invalid", "failed")}
    place = entry.entry.place
    return {
        **{name: place[name] for name in (*PLACE, "verdict", "combination")},
        "metric": entry.entry.metric.short,
        "measure": measure,
        "value": summary.value,
        "low": summary.low,
        "high": summary.high,
        "confidence": settings.confidence,
        **counts,
        "n_patients": len(set(entry.patients)),
        "resamples": summary.resamples,
        "undefined_resamples": summary.undefined,
        "difference_to_random": test.difference if test else np.nan,
        "p_random": test.p if test else np.nan,
        "p_random_holm": np.nan,
        "flag": entry.entry.flag,
    }


def comparisons(cases: Sequence[Cases], settings: Settings) -> list[dict[str, Any]]:
    """The rows of ``comparisons.csv``: every pair on the same samples, by the metric's primary measure."""
    rows = []
    for a, b in pairs(cases, 2):
        measure = a.entry.metric.primary
        same = a.entry.metric.identity == b.entry.metric.identity and a.ids == b.ids
        if not same or measure not in a.values or measure not in b.values:
            continue
        test = _tested(a, b, measure, settings)
        if test is not None:
            rows.append(_comparison_row(a, b, measure, test))
    for chosen in _families(rows, ("dataset", "split", "metric", "measure")):
        for row, adjusted in zip(chosen, holm(np.array([row["p"] for row in chosen]))):
            row["p_holm"] = float(adjusted)
    return rows


def _comparison_row(a: Cases, b: Cases, measure: str, test: PairedTest) -> dict[str, Any]:
    return {
        "dataset": a.entry.place["dataset"], "split": a.entry.place["split"], "metric": a.entry.metric.short,
        "measure": measure, "a": name_of(a.entry.place), "b": name_of(b.entry.place), "difference": test.difference,
        "p": test.p, "p_holm": np.nan, "permutations": test.permutations, "exact": test.exact, "n_cases": test.cases,
        "n_patients": test.patients, "combination_a": a.entry.place["combination"],
        "combination_b": b.entry.place["combination"],
    }  # fmt: skip


def name_of(place: Mapping[str, str]) -> str:
    """A combination in a few words: ``resnet50 × gradcam``."""
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
