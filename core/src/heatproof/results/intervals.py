"""How sure a value is: bootstrap intervals of a measure, by percentiles, BCa, or as Watanabe et al. 2022 draws them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from ..records import Array
from .resampling import PARITY_RESAMPLES, sampling

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


def bca_interval(value: float, resampled: Array, jackknife: Array, confidence: float = 0.95) -> Interval:
    """The bias-corrected and accelerated interval of a value with resamples (r,); NaN with a reason where undefined.

    ``jackknife`` (patients,) holds the value without each patient, whose skewness is the acceleration.

    Efron, "Better bootstrap confidence intervals", Journal of the American Statistical Association 82 (1987).
    """
    defined = resampled[~np.isnan(resampled)]
    undefined = len(resampled) - len(defined)
    margin = TIE * np.abs(defined).max(initial=0)
    below = np.mean([defined < value - margin, defined <= value + margin]) if len(defined) else np.nan
    reason = _no_bca(float(below), jackknife, margin)
    if reason:
        return Interval(np.nan, np.nan, undefined, reason)
    normal, tail = NormalDist(), (1 - confidence) / 2
    bias, acceleration = normal.inv_cdf(float(below)), _acceleration(jackknife)
    steps = [bias + normal.inv_cdf(share) for share in (tail, 1 - tail)]
    if any(acceleration * step >= 1 for step in steps):
        return Interval(np.nan, np.nan, undefined, "the acceleration is too large for this confidence")
    shares = [normal.cdf(bias + step / (1 - acceleration * step)) for step in steps]
    low, high = np.quantile(defined, shares)
    return Interval(float(low), float(high), undefined)


def _no_bca(below: float, jackknife: Array, margin: float) -> str:
    """Why there is no BCa interval; empty where there is one. ``below``: the share of resamples below the value."""
    if np.isnan(below):
        return "no resample has a value"
    if len(jackknife) < 2:
        return "there is only one patient"
    if np.isnan(jackknife).any():
        return "without one of the patients there is no value"
    if np.ptp(jackknife) <= margin:
        return "no patient makes a difference to the value"
    return "" if 0 < below < 1 else "all resamples lie on one side of the value"


def _acceleration(jackknife: Array) -> float:
    """A sixth of the skewness of the patients' influence, by the jackknife."""
    influence = jackknife.mean() - jackknife
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
    """Measure → value and interval of one combination: ``percentile``, ``bca`` or ``parity`` with Watanabe et al. 2022.

    ``measurements`` holds (cases,) or (cases, …) per name, NaN where one measure is undefined. Curves, which have no
    single number per resample, are left out.
    """
    summarised = summarise(measurements, sampling(tuple(groups), resamples, seed, interval))
    return {
        name: _summary(interval, values, resamples, confidence, int(defined_cases(measurements, name).sum()))
        for name, values in summarised.items()
        if values.ndim == 1
    }


def _summary(kind: str, values: Array, resamples: int, confidence: float, n: int) -> Summary:
    """The summary of the values of a sampling's rows."""
    if kind == "parity":
        return _parity(values[1:], confidence, n)
    value = float(values[0])
    resampled, jackknife = np.split(values[1:], [resamples])
    interval = percentile_interval(resampled, confidence)
    if kind == "bca":
        interval = bca_interval(value, resampled, jackknife, confidence)
    return Summary(value, interval.low, interval.high, resamples, interval.undefined, n, interval.reason, resampled)


def _parity(resampled: Array, confidence: float, n: int) -> Summary:
    """Median and percentiles of the first resamples that have a value; those passed over for it are counted."""
    defined = np.flatnonzero(~np.isnan(resampled))[:PARITY_RESAMPLES]
    used = resampled[: defined[-1] + 1 if len(defined) == PARITY_RESAMPLES else len(resampled)]
    made = percentile_interval(used, confidence)
    if len(defined) < PARITY_RESAMPLES:
        reason = f"{len(defined)} of {len(used)} resamples have a value, and {PARITY_RESAMPLES} are needed"
        return Summary(np.nan, np.nan, np.nan, PARITY_RESAMPLES, made.undefined, n, reason, used)
    median = float(np.median(resampled[defined]))
    return Summary(median, made.low, made.high, PARITY_RESAMPLES, made.undefined, n, "", used)


def defined_cases(measurements: Mapping[str, Array], measure: str) -> Array:
    """Which cases (cases,) a measure has: by its own measurement, or by all where it is made of several."""
    names = [measure] if measure in measurements else list(measurements)
    values = [np.asarray(measurements[name]) for name in names]
    missing = [np.isnan(each).any(axis=tuple(range(1, each.ndim))) for each in values]
    defined: Array = ~np.logical_or.reduce(missing)
    return defined
