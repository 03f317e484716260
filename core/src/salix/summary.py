"""What a run comes to: every combination's value with its interval, against chance, and against every other one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations as pairs
from typing import Any

import numpy as np

from .metric import Metric
from .records import Array
from .statistics import PairedTest, Summary, holm, paired_test, summarise_cases
from .tables import PLACE, Cases, name_of

SUMMARY_COLUMNS = (
    *PLACE, "metric", "measure", "value", "low", "high", "confidence", "n_valid", "n_failed", "n_excluded", "n_invalid",
    "n_patients", "resamples", "undefined_resamples", "difference_to_random", "p_random", "p_random_holm", "verdict",
    "flag", "combination",
)  # fmt: skip
COMPARISON_COLUMNS = (
    "dataset", "split", "metric", "measure", "a", "b", "difference", "p", "p_holm", "permutations", "exact", "n_cases",
    "n_patients", "combination_a", "combination_b",
)  # fmt: skip
STATUSES = ("valid", "excluded", "invalid", "failed")


@dataclass(frozen=True)
class Settings:
    """How results are summarised."""

    resamples: int
    permutations: int
    confidence: float
    seed: int


def results(cases: Sequence[Cases], settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of ``summary.csv`` and of ``comparisons.csv``."""
    made = [_summarised(entry, settings) for entry in cases]
    return summaries(made, settings), comparisons(made, settings)


def _summarised(entry: Cases, settings: Settings) -> tuple[Cases, Mapping[str, Summary]]:
    """A combination's summary; a metric that cannot summarise is flagged and its measurements are set aside."""
    metric = entry.entry.metric
    none = {metric.primary: Summary(np.nan, np.nan, np.nan, settings.resamples, settings.resamples, 0)}
    if not entry.values:
        return entry, none
    try:
        return entry, summarise_cases(
            metric.summarise, entry.values, entry.patients, settings.resamples, settings.confidence, settings.seed
        )
    except Exception as error:
        reason = f"{metric.short} cannot summarise these cases ({type(error).__name__}: {error})"
        flag = "; ".join(filter(None, (entry.entry.flag, reason)))
        return replace(entry, entry=replace(entry.entry, flag=flag), values={}), none


def summaries(made: Sequence[tuple[Cases, Mapping[str, Summary]]], settings: Settings) -> list[dict[str, Any]]:
    """The rows of ``summary.csv``: value, interval, counts, and the comparison with the random baseline."""
    baselines = {_ground(entry): entry for entry, _ in reversed(made) if entry.entry.baseline}
    rows = []
    for entry, summary in made:
        baseline = None if entry.entry.baseline else baselines.get(_ground(entry))
        for measure, found in summary.items():
            test = _tested(entry, baseline, measure, settings)
            rows.append(_summary_row(entry, measure, found, test, settings))
    _correct(rows, "p_random")
    return rows


def _ground(entry: Cases) -> tuple[str, str, str, str, tuple[str, ...]]:
    """What two combinations must share to have one baseline: samples, grid and metric."""
    scored = entry.entry
    return scored.dataset, scored.place["split"], scored.grid, scored.metric.identity, entry.ids


def _correct(rows: Sequence[dict[str, Any]], name: str) -> None:
    """Holm's correction over each family: the rows that one table shows together."""
    families: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault(tuple(row[key] for key in ("dataset", "split", "metric", "measure")), []).append(row)
    for family in families.values():
        for row, adjusted in zip(family, holm(np.array([row[name] for row in family], dtype=np.float64))):
            row[f"{name}_holm"] = float(adjusted)


def _tested(entry: Cases, other: Cases | None, measure: str, settings: Settings) -> PairedTest | None:
    """The test of a measure between two combinations on the same cases; None where one of them has no value."""
    if other is None or not entry.values or not other.values:
        return None
    metric = entry.entry.metric
    shared = [name for name, values in entry.values.items() if _fits(values, other.values.get(name))]
    if type(metric).summarise is Metric.summarise:
        # The mean of a measure needs no other measure, and there are many pairs.
        shared = [name for name in shared if name == measure]
    if not shared or (measure in entry.values and measure not in shared):
        return None
    a, b = ({name: case.values[name] for name in shared} for case in (entry, other))
    return paired_test(metric.summarise, a, b, entry.patients, measure, settings.permutations, settings.seed)


def _fits(values: Array, other: Array | None) -> bool:
    return other is not None and values.shape == other.shape


def _summary_row(
    entry: Cases, measure: str, summary: Summary, test: PairedTest | None, settings: Settings
) -> dict[str, Any]:
    place, statuses = entry.entry.place, list(entry.statuses.get(measure, entry.overall))
    return {
        **{name: place[name] for name in (*PLACE, "verdict", "combination")},
        "metric": entry.entry.name,
        "measure": measure,
        "value": summary.value,
        "low": summary.low,
        "high": summary.high,
        "confidence": settings.confidence,
        **{f"n_{status}": statuses.count(status) for status in STATUSES},
        "n_patients": len(set(entry.patients)),
        "resamples": summary.resamples,
        "undefined_resamples": summary.undefined,
        "difference_to_random": test.difference if test else np.nan,
        "p_random": test.p if test else np.nan,
        "p_random_holm": np.nan,
        "flag": entry.entry.flag,
    }


def comparisons(made: Sequence[tuple[Cases, Mapping[str, Summary]]], settings: Settings) -> list[dict[str, Any]]:
    """The rows of ``comparisons.csv``: every pair on the same samples, by the metric's primary measure."""
    rows = []
    for (a, one), (b, other) in pairs(made, 2):
        measure = a.entry.metric.primary
        tested = measure in one and measure in other and _comparable(a, b)
        test = _tested(a, b, measure, settings) if tested else None
        if test is not None:
            rows.append(_comparison_row(a, b, measure, test))
    _correct(rows, "p")
    return rows


def _comparable(a: Cases, b: Cases) -> bool:
    one, other = a.entry, b.entry
    samples = [(each.entry.dataset, each.entry.place["split"], each.ids) for each in (a, b)]
    return one.metric.identity == other.metric.identity and samples[0] == samples[1]


def _comparison_row(a: Cases, b: Cases, measure: str, test: PairedTest) -> dict[str, Any]:
    return {
        "dataset": a.entry.place["dataset"], "split": a.entry.place["split"], "metric": a.entry.name,
        "measure": measure, "a": name_of(a.entry.place), "b": name_of(b.entry.place), "difference": test.difference,
        "p": test.p, "p_holm": np.nan, "permutations": test.permutations, "exact": test.exact, "n_cases": test.cases,
        "n_patients": test.patients, "combination_a": a.entry.place["combination"],
        "combination_b": b.entry.place["combination"],
    }  # fmt: skip
