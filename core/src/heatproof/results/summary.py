"""The tables of a run: values with intervals, comparisons with chance and between combinations, and ranks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations as pairs
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from ..config.settings import StatisticsSettings
from ..containment import contained
from ..errors import HeatproofError
from ..metric import ClosedForm, Metric
from ..records import Array
from .intervals import Summary, percentile_interval, summarise_cases
from .rank_rows import RANK_COLUMNS, Ranked, Row, Summaries, family, ranked, sign_of
from .ranks import resampled_differences, win_share
from .resampling import PARITY_RESAMPLES, PARITY_SIZES
from .scores import NAME_COLUMNS, Cases, joined, name_of
from .significance import CORRECTIONS, UNTESTED, PairedTest, on_shared_cases, paired_test

STATUSES = ("valid", "excluded", "invalid", "failed")
PARITY_FLAG = (
    f"parity with Watanabe et al. 2022: median and percentiles of {PARITY_RESAMPLES} resamples of {PARITY_SIZES[0]} to "
    f"{PARITY_SIZES[1]} cases; not comparable with other intervals"
)
Item = TypeVar("Item")
Sides = tuple[Mapping[str, Array], Mapping[str, Array]]
"""The measurements of two combinations on the same cases."""
Step = Callable[[str], None]
"""Receives how far the statistics are, such as ``3 of 40 pairs``."""


class SummarySettings(StatisticsSettings):
    """The settings of intervals, tests and ranks."""

    seed: int

    @property
    def flag(self) -> str:
        """The remark in every table about intervals of this kind; empty for most kinds."""
        return {"parity": PARITY_FLAG}.get(self.interval, "")


@dataclass(frozen=True)
class ResultTable:
    """A table: its columns in the order of the file, and its rows."""

    columns: tuple[str, ...]
    rows: list[Row]


def summary_columns(correction: str) -> tuple[str, ...]:
    """The columns of ``summary.csv``."""
    return (
        *NAME_COLUMNS, "metric", "measure", "value", "low", "high", "confidence", "n_valid", "n_failed", "n_excluded",
        "n_invalid", "n_patients", "resamples", "undefined_resamples", "difference_to_random", "p_random",
        f"p_random_{correction}", "verdict", "baseline", "flag", "combination",
    )  # fmt: skip


def comparison_columns(correction: str) -> tuple[str, ...]:
    """The columns of ``comparisons.csv``."""
    return (
        "dataset", "split", "metric", "measure", "a", "b", "difference", "low", "high", "p", f"p_{correction}",
        "permutations", "exact", "closed_form", "p_closed_form", f"p_closed_form_{correction}", "p_nemenyi", "n_cases",
        "n_patients", "win_share", "flag", "combination_a", "combination_b",
    )  # fmt: skip


def _silent(text: str) -> None:
    """Tell nobody how far the statistics are."""


def results(cases: Sequence[Cases], settings: SummarySettings, step: Step = _silent) -> dict[str, ResultTable]:
    """The tables of a run by name; raises ``HeatproofError`` where the draws do not fit into the memory."""
    correction = settings.correction
    # The last bit of a product depends on the number of threads, which must not depend on the machine.
    with _enough_memory(settings), threadpool_limits(1, user_api="blas"):
        summarised = [_summarised(entry, settings) for entry in _counted(cases, step, "combinations")]
        families = ranked(summarised, settings.confidence)
        against_chance = summaries(summarised, settings, step)
        compared = comparisons(summarised, families, settings, step)
        return {
            "summary": ResultTable(summary_columns(correction), against_chance),
            "comparisons": ResultTable(comparison_columns(correction), compared),
            "ranks": ResultTable(RANK_COLUMNS, [row for entry in families for row in entry.rows(settings.flag)]),
        }


def values(cases: Sequence[Cases], settings: SummarySettings, step: Step = _silent) -> list[Row]:
    """The rows of all measures with intervals and counts, without tests; ``metric_identity`` tells metrics apart.

    Raises ``HeatproofError`` where the draws do not fit into the memory.
    """
    rows = []
    with _enough_memory(settings), threadpool_limits(1, user_api="blas"):
        for entry in _counted(cases, step, "combinations"):
            summarised, summary_of = _summarised(entry, settings)
            identity = summarised.scored.metric.identity
            for measure, summary in summary_of.items():
                row = _summary_row(summarised, measure, summary, UNTESTED, settings)
                rows.append(row | {"metric_identity": identity})
    return rows


@contextmanager
def _enough_memory(settings: SummarySettings) -> Iterator[None]:
    """Turn a lack of memory into a sentence on the draws."""
    try:
        yield
    except MemoryError as error:
        draws = f"{settings.resamples} resamples and {settings.permutations} permutations"
        advice = "lower these settings of statistics and run again; everything measured is kept."
        raise HeatproofError(f"the memory does not suffice for {draws}; {advice}") from error


def _counted(items: Sequence[Item], step: Step, names: str) -> Iterator[Item]:
    """The items one by one, after a step that says how many are done."""
    for number, item in enumerate(items):
        step(f"{number} of {len(items)} {names}")
        yield item


def _summarised(cases: Cases, settings: SummarySettings) -> tuple[Cases, Mapping[str, Summary]]:
    """A combination's summary by measure; if its metric cannot summarise, a flag says so and the values are dropped."""
    metric = cases.scored.metric
    undefined = {metric.primary: Summary(np.nan, np.nan, np.nan, settings.resamples, settings.resamples, 0)}
    if not cases.values:
        return cases, undefined
    try:
        with contained(metric.short):
            return cases, _summaries_of(cases, cases.values, _drawn(cases, settings), settings)
    except MemoryError:
        raise  # no fault of the metric
    except Exception as error:
        reason = f"{metric.short} cannot summarise these cases ({type(error).__name__}: {error})"
        scored = replace(cases.scored, flag=joined(cases.scored.flag, reason))
        return replace(cases, scored=scored, values={}), undefined


def _drawn(cases: Cases, settings: SummarySettings) -> Sequence[str]:
    """What is drawn with each case: its patient; Watanabe et al. 2022 draw single cases."""
    return cases.ids if settings.interval == "parity" else cases.patients


def _summaries_of(
    cases: Cases, values: Mapping[str, Array], patients: Sequence[str], settings: SummarySettings
) -> Mapping[str, Summary]:
    """The summaries of measurements of a combination's metric, by measure."""
    return summarise_cases(
        cases.scored.metric.summarise, values, patients, settings.resamples, settings.confidence, settings.seed,
        settings.interval,
    )  # fmt: skip


def summaries(summarised: Summaries, settings: SummarySettings, step: Step = _silent) -> list[Row]:
    """The rows of ``summary.csv``: value, interval, counts, and the comparison with the random baseline."""
    baselines = {(_ground(cases), *_owner(cases)): cases for cases, _ in reversed(summarised) if cases.scored.baseline}
    rows = []
    for cases, summary_of in _counted(summarised, step, "comparisons with chance"):
        shared = baselines.get((_ground(cases), "", ""))
        baseline = baselines.get((_ground(cases), *_owner(cases)), shared)
        for measure, summary in summary_of.items():
            test = UNTESTED
            sides = _comparable(cases, baseline, measure)
            if sides is not None and not cases.scored.baseline:
                test = _test(cases, sides, measure, settings)
            rows.append(_summary_row(cases, measure, summary, test, settings))
    _correct(rows, "p_random", settings)
    return rows


def _ground(cases: Cases) -> tuple[Any, ...]:
    """What a combination and its baseline have in common: samples, grid and metric."""
    return (*family(cases), cases.scored.grid)


def _owner(cases: Cases) -> tuple[str, str]:
    """Model and target of a combination; both empty for a baseline that no metric judges by a model."""
    return cases.scored.model, cases.scored.columns["target"]


def _correct(rows: Sequence[Row], name: str, settings: SummarySettings) -> None:
    """Add the corrected p-values of column ``name``; a family are the rows of one dataset, split and measure."""
    families: dict[Any, list[Row]] = {}
    for row in rows:
        families.setdefault(tuple(row[key] for key in ("dataset", "split", "metric", "measure")), []).append(row)
    for members in families.values():
        adjusted = CORRECTIONS[settings.correction](np.array([row[name] for row in members], dtype=np.float64))
        for row, value in zip(members, adjusted):
            row[f"{name}_{settings.correction}"] = float(value)


def _test(cases: Cases, sides: Sides, measure: str, settings: SummarySettings) -> PairedTest:
    """The test of a measure between two combinations on the same cases."""
    metric = cases.scored.metric
    return paired_test(
        metric.summarise, *sides, cases.patients, measure, settings.permutations, settings.seed, metric.exchangeable
    )


def _comparable(cases: Cases, other: Cases | None, measure: str) -> Sides | None:
    """The measurements that two combinations share and the measure needs; None if one of them has no value."""
    if other is None or not cases.values or not other.values:
        return None
    metric = cases.scored.metric
    shapes = {name: values.shape for name, values in other.values.items()}
    shared = [name for name, values in cases.values.items() if shapes.get(name) == values.shape]
    if type(metric).summarise is Metric.summarise:
        # The mean of a measure needs no other measure, and there are many pairs.
        shared = [name for name in shared if name == measure]
    if not shared or (measure in cases.values and measure not in shared):
        return None
    return {name: cases.values[name] for name in shared}, {name: other.values[name] for name in shared}


def _closed_form(cases: Cases, sides: Sides, measure: str) -> Row:
    """The columns of the metric's test in closed form; a flag says if it cannot be computed."""
    metric = cases.scored.metric
    test = None
    flag = ""
    if type(metric).closed_form is not Metric.closed_form:
        shared = on_shared_cases(*sides, cases.patients, measure)
        try:
            with contained(metric.short):
                test = metric.closed_form(*shared)
        except Exception as error:
            flag = f"{metric.short} cannot be tested in closed form ({type(error).__name__}: {error})"
    test = test or ClosedForm("", np.nan)
    return {"closed_form": test.name, "p_closed_form": test.p, "flag": flag}


def _summary_row(cases: Cases, measure: str, summary: Summary, test: PairedTest, settings: SummarySettings) -> Row:
    scored = cases.scored
    statuses = list(cases.statuses.get(measure, cases.overall))
    reason = summary.reason and f"no {settings.interval} interval: {summary.reason}"
    return {
        **{name: scored.columns[name] for name in (*NAME_COLUMNS, "verdict", "combination")},
        **{f"n_{status}": statuses.count(status) for status in STATUSES},
        "metric": scored.name, "measure": measure, "value": summary.value, "low": summary.low, "high": summary.high,
        "confidence": settings.confidence, "n_patients": len(set(cases.patients)), "resamples": summary.resamples,
        "undefined_resamples": summary.undefined, "difference_to_random": test.difference, "p_random": test.p,
        "baseline": scored.baseline, "flag": joined(scored.flag, settings.flag, reason),
    }  # fmt: skip


def comparisons(
    summarised: Summaries, families: Sequence[Ranked], settings: SummarySettings, step: Step = _silent
) -> list[Row]:
    """The rows of ``comparisons.csv``: every pair on the same samples, by the metric's primary measure."""
    nemenyi = {pair: p for entry in families for pair, p in entry.p_nemenyi().items()}
    rows = []
    for (a, summary_a), (b, summary_b) in _counted([*pairs(summarised, 2)], step, "pairs"):
        metric = a.scored.metric
        measure = metric.primary
        if family(a) != family(b) or measure not in summary_a or measure not in summary_b:
            continue
        sides = _comparable(a, b, measure)
        if sides is None:
            continue
        sampled = [summary[measure] for summary in (summary_a, summary_b)]
        wins = win_share(*(sign_of(metric) * summary.resampled for summary in sampled))
        row = _comparison_row(a, b, measure, _test(a, sides, measure, settings))
        row |= _interval(a, sides, measure, sampled, settings)
        pair = (family(a), frozenset((row["combination_a"], row["combination_b"])))
        row |= {"p_nemenyi": nemenyi.get(pair, np.nan), "win_share": wins}
        row |= _closed_form(a, sides, measure)
        rows.append(row | {"flag": joined(a.scored.flag, b.scored.flag, settings.flag, row["flag"])})
    for name in ("p", "p_closed_form"):
        _correct(rows, name, settings)
    return rows


def _interval(cases: Cases, sides: Sides, measure: str, summaries: Sequence[Summary], settings: SummarySettings) -> Row:
    """The interval of the difference on the cases of both sides, by percentiles of resamples that draw both alike."""
    *shared, patients = on_shared_cases(*sides, _drawn(cases, settings), measure)
    if len(set(patients)) < 2:
        return {"low": np.nan, "high": np.nan}
    resampled = [summary.resampled for summary in summaries]
    if any(summary.n > len(patients) for summary in summaries):
        resampled = [_summaries_of(cases, side, patients, settings)[measure].resampled for side in shared]
    interval = percentile_interval(resampled_differences(*resampled), settings.confidence)
    return {"low": interval.low, "high": interval.high}


def _comparison_row(a: Cases, b: Cases, measure: str, test: PairedTest) -> Row:
    columns = a.scored.columns
    return {
        "dataset": columns["dataset"], "split": columns["split"], "metric": a.scored.name, "measure": measure,
        "a": name_of(columns), "b": name_of(b.scored.columns), "difference": test.difference, "p": test.p,
        "permutations": test.permutations, "exact": test.exact, "n_cases": test.cases, "n_patients": test.patients,
        "combination_a": columns["combination"], "combination_b": b.scored.columns["combination"],
    }  # fmt: skip
