"""What a run comes to: every combination's value with its interval, against chance, against every other, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations as pairs
from typing import Any

import numpy as np

from ..config.settings import StatisticsSettings
from ..metric import Metric
from ..records import Array
from .intervals import Summary, summarise_cases
from .ranks import Friedman, Stability, friedman, patient_means, stability, win_share
from .resampling import PARITY_RESAMPLES, PARITY_SIZES
from .scores import PLACE, Cases, name_of
from .significance import CORRECTIONS, PairedTest, paired_test

STATUSES = ("valid", "excluded", "invalid", "failed")
FLAGS: Mapping[str, str] = {
    "parity": f"parity with Watanabe et al. 2022: median and percentiles of {PARITY_RESAMPLES} resamples of "
    f"{PARITY_SIZES[0]} to {PARITY_SIZES[1]} cases; not comparable with other intervals",
}  # fmt: skip
"""Kinds of intervals → what every table says of a run that uses them."""

Summarised = Sequence[tuple[Cases, Mapping[str, Summary]]]


class SummarySettings(StatisticsSettings):
    """How results are summarised."""

    seed: int

    @property
    def flag(self) -> str:
        """What every table says of such intervals."""
        return FLAGS.get(self.interval, "")


@dataclass(frozen=True)
class ResultTable:
    """The rows of a table and the columns as it is written."""

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]


def summary_columns(correction: str) -> tuple[str, ...]:
    """The columns of ``summary.csv``."""
    return (
        *PLACE, "metric", "measure", "value", "low", "high", "confidence", "n_valid", "n_failed", "n_excluded",
        "n_invalid", "n_patients", "resamples", "undefined_resamples", "difference_to_random", "p_random",
        f"p_random_{correction}", "verdict", "baseline", "flag", "combination",
    )  # fmt: skip


def comparison_columns(correction: str) -> tuple[str, ...]:
    """The columns of ``comparisons.csv``."""
    return (
        "dataset", "split", "metric", "measure", "a", "b", "difference", "p", f"p_{correction}", "permutations",
        "exact", "n_cases", "n_patients", "win_share", "flag", "combination_a", "combination_b",
    )  # fmt: skip


RANK_COLUMNS = (
    "dataset", "split", "metric", "measure", "name", "value", "rank", "best_share", "rank_share", "resamples",
    "mean_rank", "critical_difference", "friedman", "p_friedman", "n_combinations", "n_patients", "flag", "combination",
)  # fmt: skip


def results(cases: Sequence[Cases], settings: SummarySettings) -> dict[str, ResultTable]:
    """The tables of a run by name: ``summary``, ``comparisons`` and ``ranks``."""
    made = [_summarised(entry, settings) for entry in cases]
    return {
        "summary": ResultTable(summary_columns(settings.correction), summaries(made, settings)),
        "comparisons": ResultTable(comparison_columns(settings.correction), comparisons(made, settings)),
        "ranks": ResultTable(RANK_COLUMNS, ranks(made, settings)),
    }


def _summarised(entry: Cases, settings: SummarySettings) -> tuple[Cases, Mapping[str, Summary]]:
    """A combination's summary; a metric that cannot summarise is flagged and its measurements are set aside."""
    metric = entry.entry.metric
    none = {metric.primary: Summary(np.nan, np.nan, np.nan, settings.resamples, settings.resamples, 0)}
    if not entry.values:
        return entry, none
    # Watanabe et al. 2022 draw single cases.
    groups = entry.ids if settings.interval == "parity" else entry.patients
    try:
        return entry, summarise_cases(
            metric.summarise, entry.values, groups, settings.resamples, settings.confidence, settings.seed,
            settings.interval,
        )  # fmt: skip
    except Exception as error:
        reason = f"{metric.short} cannot summarise these cases ({type(error).__name__}: {error})"
        return replace(entry, entry=replace(entry.entry, flag=_joined(entry.entry.flag, reason)), values={}), none


def _joined(*remarks: str) -> str:
    return "; ".join(filter(None, remarks))


def summaries(made: Summarised, settings: SummarySettings) -> list[dict[str, Any]]:
    """The rows of ``summary.csv``: value, interval, counts, and the comparison with the random baseline."""
    baselines = {(_ground(entry), *_owner(entry)): entry for entry, _ in reversed(made) if entry.entry.baseline}
    rows = []
    for entry, summary in made:
        of_all = baselines.get((_ground(entry), "", ""))
        baseline = None if entry.entry.baseline else baselines.get((_ground(entry), *_owner(entry)), of_all)
        for measure, found in summary.items():
            test = _tested(entry, baseline, measure, settings)
            rows.append(_summary_row(entry, measure, found, test, settings))
    _correct(rows, "p_random", settings)
    return rows


def _ground(entry: Cases) -> tuple[str, str, str, str, tuple[str, ...]]:
    """What two combinations must share to have one baseline: samples, grid and metric."""
    scored = entry.entry
    return scored.dataset, scored.place["split"], scored.grid, scored.metric.identity, entry.ids


def _owner(entry: Cases) -> tuple[str, str]:
    """Model and target of a combination; a baseline that no metric judges by a model has neither."""
    return entry.entry.model, entry.entry.place["target"]


def _correct(rows: Sequence[dict[str, Any]], name: str, settings: SummarySettings) -> None:
    """The correction of each family of p-values: the rows that one table shows together."""
    families: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault(tuple(row[key] for key in ("dataset", "split", "metric", "measure")), []).append(row)
    for family in families.values():
        adjusted = CORRECTIONS[settings.correction](np.array([row[name] for row in family], dtype=np.float64))
        for row, value in zip(family, adjusted):
            row[f"{name}_{settings.correction}"] = float(value)


def _tested(entry: Cases, other: Cases | None, measure: str, settings: SummarySettings) -> PairedTest | None:
    """The test of a measure between two combinations on the same cases; None where one of them has no value."""
    if other is None or not entry.values or not other.values:
        return None
    metric = entry.entry.metric
    shared = [
        name
        for name, values in entry.values.items()
        if name in other.values and values.shape == other.values[name].shape
    ]
    if type(metric).summarise is Metric.summarise:
        # The mean of a measure needs no other measure, and there are many pairs.
        shared = [name for name in shared if name == measure]
    if not shared or (measure in entry.values and measure not in shared):
        return None
    a, b = ({name: case.values[name] for name in shared} for case in (entry, other))
    return paired_test(metric.summarise, a, b, entry.patients, measure, settings.permutations, settings.seed)


def _summary_row(
    entry: Cases, measure: str, summary: Summary, test: PairedTest | None, settings: SummarySettings
) -> dict[str, Any]:
    place, statuses = entry.entry.place, list(entry.statuses.get(measure, entry.overall))
    missing = f"no {settings.interval} interval"
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
        "baseline": entry.entry.baseline,
        "flag": _joined(entry.entry.flag, settings.flag, summary.reason and f"{missing}: {summary.reason}"),
    }


def comparisons(made: Summarised, settings: SummarySettings) -> list[dict[str, Any]]:
    """The rows of ``comparisons.csv``: every pair on the same samples, by the metric's primary measure."""
    rows = []
    for (a, one), (b, other) in pairs(made, 2):
        measure = a.entry.metric.primary
        tested = measure in one and measure in other and _family(a) == _family(b)
        test = _tested(a, b, measure, settings) if tested else None
        if test is not None:
            wins = win_share(*(_better(a.entry.metric) * each[measure].resampled for each in (one, other)))
            rows.append(_comparison_row(a, b, measure, test) | {"win_share": wins, "flag": settings.flag})
    _correct(rows, "p", settings)
    return rows


def _family(entry: Cases) -> tuple[str, str, str, tuple[str, ...]]:
    """What combinations that are compared have in common: samples and metric."""
    return entry.entry.dataset, entry.entry.place["split"], entry.entry.metric.identity, entry.ids


def _better(metric: Metric) -> int:
    """The sign that makes larger values better."""
    return 1 if metric.higher_is_better else -1


def _comparison_row(a: Cases, b: Cases, measure: str, test: PairedTest) -> dict[str, Any]:
    return {
        "dataset": a.entry.place["dataset"], "split": a.entry.place["split"], "metric": a.entry.name,
        "measure": measure, "a": name_of(a.entry.place), "b": name_of(b.entry.place), "difference": test.difference,
        "p": test.p, "permutations": test.permutations, "exact": test.exact, "n_cases": test.cases,
        "n_patients": test.patients, "combination_a": a.entry.place["combination"],
        "combination_b": b.entry.place["combination"],
    }  # fmt: skip


def ranks(made: Summarised, settings: SummarySettings) -> list[dict[str, Any]]:
    """The rows of ``ranks.csv``: the order by the primary measure, and how firm it is; random baselines aside."""
    families: dict[Any, list[tuple[Cases, Summary]]] = {}
    for entry, summary in made:
        found = summary.get(entry.entry.metric.primary)
        if found is not None and not np.isnan(found.value) and not entry.entry.baseline:
            families.setdefault(_family(entry), []).append((entry, found))
    return [row for family in families.values() if len(family) > 1 for row in _ranked(family, settings)]


def _ranked(family: Sequence[tuple[Cases, Summary]], settings: SummarySettings) -> list[dict[str, Any]]:
    metric = family[0][0].entry.metric
    values = _better(metric) * np.array([summary.value for _, summary in family])
    firm = stability(values, [_better(metric) * summary.resampled for _, summary in family])
    test = friedman(np.stack([_by_patient(entry) for entry, _ in family], axis=1), settings.confidence)
    rows = [
        _rank_row(entry, summary, firm, test, place) | {"flag": settings.flag}
        for place, (entry, summary) in enumerate(family)
    ]
    return sorted(rows, key=lambda row: (row["rank"], row["name"]))


def _by_patient(entry: Cases) -> Array:
    """The primary measure of each patient (patients,), the larger the better; NaN where it is no number per case."""
    metric = entry.entry.metric
    values = entry.values.get(metric.primary, np.full(len(entry.ids), np.nan))
    per_case = values if values.ndim == 1 else np.full(len(entry.ids), np.nan)
    return _better(metric) * patient_means(per_case, entry.patients)


def _rank_row(entry: Cases, summary: Summary, firm: Stability, test: Friedman, place: int) -> dict[str, Any]:
    scored = entry.entry
    return {
        **{name: scored.place[name] for name in ("dataset", "split", "combination")},
        "metric": scored.name, "measure": scored.metric.primary, "name": name_of(scored.place), "value": summary.value,
        "rank": float(firm.ranks[place]), "best_share": float(firm.best[place]),
        "rank_share": float(firm.kept[place]), "resamples": firm.resamples,
        "mean_rank": float(test.mean_ranks[place]), "critical_difference": test.critical_difference,
        "friedman": test.statistic, "p_friedman": test.p, "n_combinations": len(test.mean_ranks),
        "n_patients": test.blocks,
    }  # fmt: skip
