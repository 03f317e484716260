"""Ranks of combinations: Friedman's test, the critical difference, and the stability of the order."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import chdtrc

from ..records import Array
from .intervals import TIE
from .resampling import numbered


@dataclass(frozen=True)
class Friedman:
    """Friedman's test over ``blocks`` patients: each combination's mean rank (combinations,), 1 for the best.

    Two mean ranks further apart than the critical difference differ by Nemenyi's test, whose p-values of all pairs are
    ``p_nemenyi`` (combinations, combinations).
    """

    mean_ranks: Array
    statistic: float
    p: float
    critical_difference: float
    blocks: int
    p_nemenyi: Array


@dataclass(frozen=True)
class Stability:
    """The ranks of combinations, and their shares of resamples with rank 1 (ties in equal parts) and the same rank.

    All arrays are (combinations,); ``resamples`` counts those that all combinations have.
    """

    ranks: Array
    best_share: Array
    rank_share: Array
    resamples: int


def average_ranks(values: Array) -> Array:
    """The ranks in each row (rows, combinations), 1 for the largest value; equal values share their mean rank.

    >>> average_ranks(np.array([[0.5, 0.9, 0.5, 0.1]])).tolist()
    [[2.5, 1.0, 2.5, 4.0]]
    """
    # ``scipy.stats.rankdata`` has no margin: rounding would decide between equal values.
    margin = TIE * np.abs(values).max(initial=0)
    columns = np.split(values, values.shape[1], axis=1)
    above = [(values > column + margin).sum(1) for column in columns]
    equal = [(np.abs(values - column) <= margin).sum(1) for column in columns]
    ranks: Array = np.stack(above, axis=1) + (np.stack(equal, axis=1) + 1) / 2
    return ranks


def patient_means(values: Array, patients: Sequence[str]) -> Array:
    """The mean of each sorted patient (patients,) over the defined values (cases,); NaN if no value is defined."""
    count, position = numbered(patients)
    defined = ~np.isnan(values)
    cases = np.bincount(position[defined], minlength=count)
    sums = np.bincount(position[defined], weights=values[defined], minlength=count)
    means: Array = np.divide(sums, cases, out=np.full(count, np.nan), where=cases > 0)
    return means


def friedman(values: Array, confidence: float) -> Friedman:
    """Friedman's test on values (patients, combinations), larger is better; patients with a missing value are left out.

    The statistic is corrected for ties and compared with chi-square; it is NaN without patients or if all are tied.
    Nemenyi's p-values are those of the studentized range, as in ``scikit_posthocs.posthoc_nemenyi_friedman``; they
    allow for all pairs and need no further correction.

    Friedman, "The use of ranks to avoid the assumption of normality implicit in the analysis of variance", Journal of
    the American Statistical Association 32 (1937); Demšar, "Statistical comparisons of classifiers over multiple data
    sets", Journal of Machine Learning Research 7 (2006).
    """
    complete = values[~np.isnan(values).any(axis=1)]
    blocks, count = complete.shape
    if not blocks:
        return Friedman(np.full(count, np.nan), np.nan, np.nan, np.nan, 0, np.full((count, count), np.nan))
    # The import takes half a second.
    from scipy.stats import studentized_range

    ranks = average_ranks(complete)
    mean_ranks = ranks.mean(axis=0)
    # ``scipy.stats.friedmanchisquare`` refuses two combinations, and ranks without a margin.
    centred = ranks - (count + 1) / 2
    spread = (centred**2).sum()
    between = (count - 1) * blocks**2 * (centred.mean(axis=0) ** 2).sum()
    statistic = float(between / spread) if spread else np.nan
    unit = sqrt(count * (count + 1) / (12 * blocks))
    difference = float(studentized_range.ppf(confidence, count, np.inf)) * unit
    gaps = np.abs(mean_ranks[:, None] - mean_ranks) / unit
    p_nemenyi = np.clip(studentized_range.sf(gaps, count, np.inf), 0, 1)
    return Friedman(mean_ranks, statistic, float(chdtrc(count - 1, statistic)), difference, blocks, p_nemenyi)


def stability(values: Array, resampled: Sequence[Array]) -> Stability:
    """The stability of the ranks of values (combinations,) over their resamples, one (r,) each; larger is better."""
    shared = _shared(*resampled)
    ranks = average_ranks(values[None])[0]
    if not len(shared):
        return Stability(ranks, np.full(len(values), np.nan), np.full(len(values), np.nan), 0)
    resampled_ranks = average_ranks(shared)
    best = resampled_ranks == resampled_ranks.min(axis=1, keepdims=True)
    best_share = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return Stability(ranks, best_share, (resampled_ranks == ranks).mean(axis=0), len(shared))


def win_share(a: Array, b: Array) -> float:
    """The share of resamples in which the value of a exceeds that of b; ties count half, NaN without resamples.

    >>> win_share(np.array([3.0, 1.0, 2.0, np.nan]), np.array([1.0, 2.0, 2.0, 0.0]))
    0.5
    """
    pairs = _shared(a, b)
    return float((2 - average_ranks(pairs)[:, 0]).mean()) if len(pairs) else np.nan


def resampled_differences(a: Array, b: Array) -> Array:
    """The differences a - b (r,) of the resamples in which both have a value.

    >>> resampled_differences(np.array([3.0, np.nan, 2.0]), np.array([1.0, 2.0, 2.5])).tolist()
    [2.0, -0.5]
    """
    pairs = _shared(a, b)
    return np.asarray(pairs[:, 0] - pairs[:, 1])


def _shared(*resampled: Array) -> Array:
    """The resamples (r, combinations) in which all have a value; the first ones if some have fewer resamples."""
    length = min(map(len, resampled))
    values = np.stack([column[:length] for column in resampled], axis=1)
    shared: Array = values[~np.isnan(values).any(axis=1)]
    return shared
