"""How sure a number is: bootstrap intervals, paired permutation tests, and corrections for many of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from .records import Array
from .resampling import PARITY_RESAMPLES, Sampling, sampling, swap_counts

Summarise: TypeAlias = Callable[[Mapping[str, Array], Array], Mapping[str, Array]]

TIE = 1e-10
"""Differences closer than this share of the largest summary count as equal: rounding must not decide a test."""


@dataclass(frozen=True)
class Interval:
    """An interval, how many resamples have no value, and the reason where it could not be made."""

    low: float
    high: float
    undefined: int
    reason: str = ""


@dataclass(frozen=True)
class Summary:
    """A measure over ``n`` cases with its interval; ``undefined`` resamples had no value.

    ``resampled`` (r,) holds the value of each resample, in the same order for all combinations on the same cases;
    ``reason`` says why there is no interval.
    """

    value: float
    low: float
    high: float
    resamples: int
    undefined: int
    n: int
    reason: str = ""
    resampled: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)


@dataclass(frozen=True)
class PairedTest:
    """Two combinations on the same cases: the difference a - b and its two-sided p.

    ``permutations`` counts all sign patterns where ``exact``, else the random ones. ``cases`` and ``patients`` are
    those defined in both combinations; nothing else entered.
    """

    difference: float
    p: float
    permutations: int
    exact: bool
    cases: int
    patients: int


def percentile_interval(values: Array, confidence: float = 0.95) -> Interval:
    """The central interval of resampled values (r,), by linear percentiles; NaN resamples are left out and counted.

    >>> percentile_interval(np.array([0.0, 1.0, 2.0, np.nan]), 0.5)
    Interval(low=0.5, high=1.5, undefined=1, reason='')
    """
    defined = values[~np.isnan(values)]
    undefined = len(values) - len(defined)
    if not len(defined):
        return Interval(np.nan, np.nan, undefined)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high), undefined)


def bca_interval(value: float, resampled: Array, left_out: Array, confidence: float = 0.95) -> Interval:
    """The bias-corrected and accelerated interval of a value with resamples (r,); NaN with a reason where undefined.

    ``left_out`` (patients,) holds the value without each patient, whose skewness is the acceleration.

    Efron, "Better bootstrap confidence intervals", Journal of the American Statistical Association 82 (1987).
    """
    defined = resampled[~np.isnan(resampled)]
    undefined = len(resampled) - len(defined)
    margin = TIE * np.abs(defined).max(initial=0)
    below = np.mean([defined < value - margin, defined <= value + margin]) if len(defined) else np.nan
    reason = _no_bca(float(below), left_out, margin)
    if reason:
        return Interval(np.nan, np.nan, undefined, reason)
    normal, tail = NormalDist(), (1 - confidence) / 2
    bias, acceleration = normal.inv_cdf(float(below)), _acceleration(left_out)
    steps = [bias + normal.inv_cdf(share) for share in (tail, 1 - tail)]
    if any(acceleration * step >= 1 for step in steps):
        return Interval(np.nan, np.nan, undefined, "the acceleration is too large for this confidence")
    shares = [normal.cdf(bias + step / (1 - acceleration * step)) for step in steps]
    low, high = np.quantile(defined, shares)
    return Interval(float(low), float(high), undefined)


def _no_bca(below: float, left_out: Array, margin: float) -> str:
    """Why there is no BCa interval; empty where there is one. ``below``: the share of resamples below the value."""
    if np.isnan(below):
        return "no resample has a value"
    if len(left_out) < 2:
        return "there is only one patient"
    if np.isnan(left_out).any():
        return "without one of the patients there is no value"
    if np.ptp(left_out) <= margin:
        return "no patient makes a difference to the value"
    return "" if 0 < below < 1 else "all resamples lie on one side of the value"


def _acceleration(left_out: Array) -> float:
    """A sixth of the skewness of the patients' influence, by the jackknife."""
    influence = left_out.mean() - left_out
    return float((influence**3).sum() / (6 * (influence**2).sum() ** 1.5))


def summarise_cases(
    summarise: Summarise,
    measurements: Mapping[str, Array],
    groups: Sequence[str],
    resamples: int,
    confidence: float,
    seed: int,
    interval: str = "percentile",
) -> dict[str, Summary]:
    """Measure → value and interval of one combination: ``percentile``, ``bca``, or ``parity`` with paper 004.

    ``measurements`` holds (cases,) or (cases, …) per name, NaN where one measure is undefined. Curves, which have no
    single number per resample, are left out.
    """
    drawn = sampling(groups, resamples, seed, interval)
    found = summarise(measurements, drawn.counts)
    return {
        name: INTERVALS[interval](drawn, values, confidence, int(np.count_nonzero(_defined(measurements, name))))
        for name, values in found.items()
        if values.ndim == 1
    }


def _percentile(drawn: Sampling, values: Array, confidence: float, n: int) -> Summary:
    value, resampled, _ = drawn.split(values)
    return _summary(value, percentile_interval(resampled, confidence), resampled, n)


def _bca(drawn: Sampling, values: Array, confidence: float, n: int) -> Summary:
    value, resampled, left_out = drawn.split(values)
    return _summary(value, bca_interval(value, resampled, left_out, confidence), resampled, n)


def _parity(drawn: Sampling, values: Array, confidence: float, n: int) -> Summary:
    """Median and percentiles of the first resamples that have a value; those passed over for it are counted."""
    _, resampled, _ = drawn.split(values)
    defined = np.flatnonzero(~np.isnan(resampled))[:PARITY_RESAMPLES]
    used = resampled[: defined[-1] + 1 if len(defined) == PARITY_RESAMPLES else len(resampled)]
    made = percentile_interval(used, confidence)
    if len(defined) < PARITY_RESAMPLES:
        reason = f"{len(defined)} of {len(used)} resamples have a value, and {PARITY_RESAMPLES} are needed"
        return Summary(np.nan, np.nan, np.nan, PARITY_RESAMPLES, made.undefined, n, reason, used)
    median = float(np.median(resampled[defined]))
    return Summary(median, made.low, made.high, PARITY_RESAMPLES, made.undefined, n, "", used)


def _summary(value: float, made: Interval, resampled: Array, n: int) -> Summary:
    return Summary(value, made.low, made.high, len(resampled), made.undefined, n, made.reason, resampled)


INTERVALS: Mapping[str, Callable[[Sampling, Array, float, int], Summary]] = {
    "percentile": _percentile,
    "bca": _bca,
    "parity": _parity,
}
"""The kinds of intervals: of the values of a sampling's rows, at a confidence, over so many cases."""


def _defined(measurements: Mapping[str, Array], measure: str) -> Array:
    """Which cases (cases,) a measure has: by its own measurement, or by all where it is made of several."""
    names = [measure] if measure in measurements else list(measurements)
    values = [np.asarray(measurements[name]) for name in names]
    missing = [np.isnan(each).any(axis=tuple(range(1, each.ndim))) for each in values]
    defined: Array = ~np.logical_or.reduce(missing)
    return defined


def paired_test(
    summarise: Summarise,
    a: Mapping[str, Array],
    b: Mapping[str, Array],
    groups: Sequence[str],
    measure: str,
    permutations: int,
    seed: int,
) -> PairedTest:
    """Whether two combinations differ in ``measure``: a two-sided permutation test that swaps whole patients.

    ``a`` and ``b`` hold the measurements of the same cases, row by row. The observed assignment is one of those
    compared: p = (1 + #{|d*| >= |d|}) / (1 + permutations) where random, the exact share where all are enumerated;
    differences equal within ``TIE`` count as equal. NaN without a case that is defined in both.
    """
    kept = _defined(a, measure) & _defined(b, measure)
    patients = np.asarray(groups, dtype=np.str_)[kept]
    if not kept.any():
        return PairedTest(np.nan, np.nan, 0, False, 0, 0)
    stacked = {name: np.concatenate([np.asarray(a[name])[kept], np.asarray(b[name])[kept]]) for name in a}
    swaps = swap_counts(patients.tolist(), permutations, seed)
    first, second = (summarise(stacked, counts)[measure] for counts in (swaps.first, swaps.second))
    compared = len(first) - (not swaps.exact)
    return PairedTest(
        float(first[0] - second[0]),
        _share_as_large(first, second),
        compared,
        swaps.exact,
        int(kept.sum()),
        len(np.unique(patients)),
    )


def _share_as_large(first: Array, second: Array) -> float:
    """The share of defined rows that differ at least as much as the first row; NaN where the first is undefined."""
    differences = np.abs(first - second)
    if np.isnan(differences[0]):
        return np.nan
    defined = ~np.isnan(differences)
    tolerance = TIE * max(np.abs(first[defined]).max(), np.abs(second[defined]).max())
    return float((differences[defined] >= differences[0] - tolerance).mean())


def holm(p_values: Array) -> Array:
    """Holm's adjusted p-values of all comparisons shown together; NaN stays NaN and does not count.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    >>> holm(np.array([0.01, 0.04, 0.03, np.nan])).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    adjusted, order = _ascending(p_values)
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def benjamini_hochberg(p_values: Array) -> Array:
    """The false discovery rate at which each comparison would be reported; NaN stays NaN and does not count.

    Benjamini and Hochberg, "Controlling the false discovery rate: a practical and powerful approach to multiple
    testing", Journal of the Royal Statistical Society B 57 (1995).

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, np.nan])).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    adjusted, order = _ascending(p_values)
    steps = adjusted[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum.accumulate(steps[::-1])[::-1]
    return adjusted


def _ascending(p_values: Array) -> tuple[Array, Array]:
    """A copy of the p-values, and the positions of those defined, the smallest first."""
    copied = np.array(p_values, dtype=np.float64)
    return copied, np.argsort(copied, kind="stable")[: np.count_nonzero(~np.isnan(copied))]


CORRECTIONS: Mapping[str, Callable[[Array], Array]] = {"holm": holm, "benjamini_hochberg": benjamini_hochberg}
"""Corrections of all p-values that one table shows together."""
