"""Bootstrap confidence intervals of a measure: percentile, BCa, or as in Watanabe et al. 2022."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from ..records import Array
from .resampling import PARITY_RESAMPLES, sampling

Summarise: TypeAlias = Callable[[Mapping[str, Array], Array], Mapping[str, Array]]
"""``Metric.summarise``."""

ONE_PATIENT = "there is only one patient"
TIE = 1e-10
"""Values that differ by at most this share of the largest are equal: rounding must not decide a test or a rank."""


@dataclass(frozen=True)
class Interval:
    """An interval, the number of resamples without a value, and the reason if there is no interval."""

    low: float
    high: float
    undefined: int
    reason: str = ""


@dataclass(frozen=True)
class Summary:
    """A measure over ``n`` cases with its interval, or the reason why there is none.

    ``resampled`` (r,) holds the values of the resamples, which are the same for all combinations on the same cases.
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
    """The central interval of resampled values (r,) by linear percentiles; NaN values are ignored and counted.

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
    """The bias-corrected and accelerated interval of a value with resamples (r,); NaN and a reason if undefined.

    ``jackknife`` (patients,) holds the value without each patient; the acceleration follows from its skewness.

    Efron, "Better bootstrap confidence intervals", Journal of the American Statistical Association 82 (1987).
    """
    defined = resampled[~np.isnan(resampled)]
    undefined = len(resampled) - len(defined)
    if not len(defined):
        return Interval(np.nan, np.nan, undefined, "no resample has a value")
    tolerance = TIE * np.abs(defined).max()
    below = float(np.mean([defined < value - tolerance, defined <= value + tolerance]))  # ties count half
    reason = _no_bca_reason(below, jackknife, tolerance)
    if reason:
        return Interval(np.nan, np.nan, undefined, reason)
    normal = NormalDist()
    bias = normal.inv_cdf(below)
    acceleration = _acceleration(jackknife)
    tail = (1 - confidence) / 2
    quantiles = [bias + normal.inv_cdf(share) for share in (tail, 1 - tail)]
    if any(acceleration * quantile >= 1 for quantile in quantiles):
        return Interval(np.nan, np.nan, undefined, "the acceleration is too large for this confidence")
    shares = [normal.cdf(bias + quantile / (1 - acceleration * quantile)) for quantile in quantiles]
    low, high = np.quantile(defined, shares)
    return Interval(float(low), float(high), undefined)


def _no_bca_reason(below: float, jackknife: Array, tolerance: float) -> str:
    """The reason why there is no BCa interval, or empty; ``below`` is the share of resamples below the value."""
    if len(jackknife) < 2:
        return ONE_PATIENT
    if np.isnan(jackknife).any():
        return "without one of the patients there is no value"
    if np.ptp(jackknife) <= tolerance:
        return "no patient makes a difference to the value"
    if not 0 < below < 1:
        return "all resamples lie on one side of the value"
    return ""


def _acceleration(jackknife: Array) -> float:
    """A sixth of the skewness of the patients' influence, by the jackknife."""
    influence = jackknife.mean() - jackknife
    return float((influence**3).sum() / (6 * (influence**2).sum() ** 1.5))


def summarise_cases(
    summarise: Summarise, measurements: Mapping[str, Array], patients: Sequence[str], resamples: int,
    confidence: float, seed: int, interval: str = "percentile",
) -> dict[str, Summary]:  # fmt: skip
    """Measure → value and interval of one combination; the interval ``parity`` is that of Watanabe et al. 2022.

    ``measurements`` holds (cases,) or (cases, …) per name, NaN where undefined; measures per point get no summary.
    Where the cases with a value are of one patient, there is no interval.
    """
    summaries: dict[str, Summary] = {}
    pieces = [
        {name: values for name, values in summarise(measurements, counts).items() if values.ndim == 1}
        for counts in sampling(tuple(patients), resamples, seed, interval)
    ]
    for name in pieces[0]:
        values = np.concatenate([piece[name] for piece in pieces])
        defined = defined_cases(measurements, name)
        summaries[name] = _summary(interval, values, resamples, confidence, int(defined.sum()))
        if len(set(np.asarray(patients)[defined])) == 1 and interval != "parity":  # which draws cases
            summaries[name] = replace(summaries[name], low=np.nan, high=np.nan, reason=ONE_PATIENT)
    return summaries


def _summary(kind: str, values: Array, resamples: int, confidence: float, n: int) -> Summary:
    """The summary of a measure, from its value in each row of ``sampling``."""
    if kind == "parity":
        return _parity(values[1:], confidence, n)
    value = float(values[0])
    resampled, jackknife = np.split(values[1:], [resamples])
    interval = percentile_interval(resampled, confidence)
    if kind == "bca":
        interval = bca_interval(value, resampled, jackknife, confidence)
    return Summary(value, interval.low, interval.high, resamples, interval.undefined, n, interval.reason, resampled)


def _parity(resampled: Array, confidence: float, n: int) -> Summary:
    """The median and percentiles of the first 30 resamples with a value; counts the undefined ones before the last."""
    defined = np.flatnonzero(~np.isnan(resampled))[:PARITY_RESAMPLES]
    if len(defined) < PARITY_RESAMPLES:
        undefined = len(resampled) - len(defined)
        reason = f"{len(defined)} of {len(resampled)} resamples have a value, and {PARITY_RESAMPLES} are needed"
        return Summary(np.nan, np.nan, np.nan, PARITY_RESAMPLES, undefined, n, reason, resampled)
    used = resampled[: defined[-1] + 1]
    interval = percentile_interval(used, confidence)
    median = float(np.median(resampled[defined]))
    return Summary(median, interval.low, interval.high, PARITY_RESAMPLES, interval.undefined, n, "", used)


def defined_cases(measurements: Mapping[str, Array], measure: str) -> Array:
    """Whether each case (cases,) has a measure: its measurement, or all of them if it is computed from several."""
    if measure in measurements:
        measurements = {measure: measurements[measure]}
    missing = [np.isnan(values).any(axis=tuple(range(1, np.ndim(values)))) for values in measurements.values()]
    return np.asarray(~np.logical_or.reduce(missing))
