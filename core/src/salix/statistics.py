"""How sure a number is: patient-clustered bootstrap intervals, paired permutation tests and Holm's correction.

Everything here is a matrix of counts (rows, cases) that says how often each case occurs; ``Metric.summarise`` turns all
rows into values in one call. Patients, never single cases, are drawn or swapped, as cases of one patient are alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from .keyed import generator
from .records import Array

Summarise: TypeAlias = Callable[[Mapping[str, Array], Array], Mapping[str, Array]]

TIE = 1e-10
"""Differences closer than this share of the largest summary count as equal: rounding must not decide a test."""


@dataclass(frozen=True)
class Interval:
    """A percentile interval, and how many resamples were left out because they have no value."""

    low: float
    high: float
    undefined: int


@dataclass(frozen=True)
class Summary:
    """A measure over ``n`` cases with its interval; ``undefined`` of the ``resamples`` had no value."""

    value: float
    low: float
    high: float
    resamples: int
    undefined: int
    n: int


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


@dataclass(frozen=True)
class Swaps:
    """Counts (rows, 2 n) of the two combinations [a; b] after patients changed sides; the first row swaps nobody."""

    first: Array
    second: Array
    exact: bool


def once(cases: int) -> Array:
    """The counts (1, cases) that take every case once: those of the value itself."""
    return np.ones((1, cases), dtype=np.int32)


def resample_counts(groups: Sequence[str], resamples: int, seed: int) -> Array:
    """How often each case occurs (resamples, cases) when whole patients are drawn with replacement; read-only.

    The draws belong to the sorted patients, so that the order of the cases does not matter.

    >>> resample_counts(["one", "one", "one"], 2, seed=0).tolist()
    [[1, 1, 1], [1, 1, 1]]
    """
    return _resampled(tuple(groups), resamples, seed)


@lru_cache(maxsize=1)
def _resampled(groups: tuple[str, ...], resamples: int, seed: int) -> Array:
    count, position = _patients(groups)
    drawn = generator(seed, "bootstrap").integers(0, count, size=(resamples, count))
    cells = drawn + count * np.arange(resamples)[:, None]
    counts = np.bincount(cells.ravel(), minlength=resamples * count).reshape(resamples, count)
    spread = counts.astype(np.int32)[:, position]
    spread.setflags(write=False)
    return spread


def _patients(groups: Sequence[str]) -> tuple[int, Array]:
    """The number of patients, and each case's position among the sorted patients (cases,)."""
    names, position = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    return len(names), position


def percentile_interval(values: Array, confidence: float = 0.95) -> Interval:
    """The central interval of resampled values (r,), by linear percentiles; NaN resamples are left out and counted.

    >>> percentile_interval(np.array([0.0, 1.0, 2.0, np.nan]), 0.5)
    Interval(low=0.5, high=1.5, undefined=1)
    """
    defined = values[~np.isnan(values)]
    undefined = len(values) - len(defined)
    if not len(defined):
        return Interval(np.nan, np.nan, undefined)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high), undefined)


def summarise_cases(
    summarise: Summarise,
    measurements: Mapping[str, Array],
    groups: Sequence[str],
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Summary]:
    """Measure → value and patient-clustered percentile interval of one combination.

    ``measurements`` holds (cases,) or (cases, …) per name, NaN where one measure is undefined. Curves, which have no
    single number per resample, are left out.
    """
    points = summarise(measurements, once(len(groups)))
    resampled = summarise(measurements, resample_counts(groups, resamples, seed))
    scalars = {name: values for name, values in resampled.items() if values.ndim == 1}
    return {
        name: _summary(points[name], percentile_interval(values, confidence), resamples, _defined(measurements, name))
        for name, values in scalars.items()
    }


def _summary(point: Array, interval: Interval, resamples: int, defined: Array) -> Summary:
    undefined, n = interval.undefined, int(np.count_nonzero(defined))
    return Summary(float(point[0]), interval.low, interval.high, resamples, undefined, n)


def _defined(measurements: Mapping[str, Array], measure: str) -> Array:
    """Which cases (cases,) a measure has: by its own measurement, or by all where it is made of several."""
    names = [measure] if measure in measurements else list(measurements)
    values = [np.asarray(measurements[name]) for name in names]
    missing = [np.isnan(each).any(axis=tuple(range(1, each.ndim))) for each in values]
    defined: Array = ~np.logical_or.reduce(missing)
    return defined


def swap_counts(groups: Sequence[str], permutations: int, seed: int) -> Swaps:
    """The counts of both sides when whole patients are swapped between two combinations [a; b].

    All patterns where there are no more of them than ``permutations``, else that many random ones after the first.
    """
    count, position = _patients(groups)
    exact = 2**count <= permutations
    swapped = _patterns(count) if exact else _random_patterns(count, permutations, seed)
    sides = [(swapped == moved)[:, position].astype(np.int32) for moved in (False, True)]
    return Swaps(np.hstack(sides), np.hstack(sides[::-1]), exact)


def _patterns(count: int) -> Array:
    """Every choice of whom to swap (2^count, count) bool, nobody first."""
    return (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)


def _random_patterns(count: int, permutations: int, seed: int) -> Array:
    """Nobody, then random choices of whom to swap (1 + permutations, count) bool."""
    drawn = generator(seed, "permutation").integers(0, 2, size=(permutations, count), dtype=np.uint8)
    return np.vstack([np.zeros((1, count), dtype=bool), drawn.astype(bool)])


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
    adjusted = np.asarray(p_values, dtype=np.float64).copy()
    order = np.argsort(adjusted, kind="stable")[: np.count_nonzero(~np.isnan(adjusted))]
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
