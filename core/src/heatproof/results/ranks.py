"""Ranks of combinations: whether they differ at all, by how much they must, and how firm their order is."""

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

    Two mean ranks further apart than the critical difference differ by Nemenyi's test.
    """

    mean_ranks: Array
    statistic: float
    p: float
    critical_difference: float
    blocks: int


@dataclass(frozen=True)
class Stability:
    """Over the resamples that all combinations have: the share in which each is best, and in which it keeps its rank.

    ``ranks``, ``best`` and ``kept`` are (combinations,). Those that share the first place count as best in equal parts.
    """

    ranks: Array
    best: Array
    kept: Array
    resamples: int


def average_ranks(values: Array) -> Array:
    """The ranks in each row (rows, combinations), 1 for the largest value; equal ones share their mean rank.

    >>> average_ranks(np.array([[0.5, 0.9, 0.5, 0.1]])).tolist()
    [[2.5, 1.0, 2.5, 4.0]]
    """
    margin = TIE * np.abs(values).max(initial=0)
    columns = np.split(values, values.shape[1], axis=1)
    above = [(values > each + margin).sum(1) for each in columns]
    equal = [(np.abs(values - each) <= margin).sum(1) for each in columns]
    ranks: Array = np.stack(above, axis=1) + (np.stack(equal, axis=1) + 1) / 2
    return ranks


def patient_means(values: Array, groups: Sequence[str]) -> Array:
    """The mean over the defined cases (cases,) of each sorted patient (patients,); NaN where there is none."""
    count, position = numbered(groups)
    defined = ~np.isnan(values)
    cases = np.bincount(position[defined], minlength=count)
    sums = np.bincount(position[defined], weights=values[defined], minlength=count)
    means: Array = np.divide(sums, cases, out=np.full(count, np.nan), where=cases > 0)
    return means


def friedman(values: Array, confidence: float) -> Friedman:
    """The test on values (patients, combinations), the larger the better; patients who lack a value are left out.

    The statistic is corrected for ties and compared with chi-square; it is NaN without patients or where all are tied.

    Friedman, "The use of ranks to avoid the assumption of normality implicit in the analysis of variance", Journal of
    the American Statistical Association 32 (1937); Demšar, "Statistical comparisons of classifiers over multiple data
    sets", Journal of Machine Learning Research 7 (2006).
    """
    complete = values[~np.isnan(values).any(axis=1)]
    blocks, count = complete.shape
    if not blocks:
        return Friedman(np.full(count, np.nan), np.nan, np.nan, np.nan, 0)
    # Its import takes more than a second, and only this needs it.
    from scipy.stats import studentized_range

    ranks = average_ranks(complete)
    centred, mean_ranks = ranks - (count + 1) / 2, ranks.mean(axis=0)
    spread = (centred**2).sum()
    between = (count - 1) * blocks**2 * (centred.mean(axis=0) ** 2).sum()
    statistic = float(between / spread) if spread else np.nan
    difference = studentized_range.ppf(confidence, count, np.inf) * sqrt(count * (count + 1) / (12 * blocks))
    return Friedman(mean_ranks, statistic, float(chdtrc(count - 1, statistic)), float(difference), blocks)


def stability(values: Array, resampled: Sequence[Array]) -> Stability:
    """How firm the ranks of the values (combinations,) are over those of their resamples, (r,) each; larger is better.

    Where one has fewer resamples than another, the first ones of each count.
    """
    drawn = _shared(*resampled)
    ranks = average_ranks(values[None])[0]
    if not len(drawn):
        return Stability(ranks, np.full(len(values), np.nan), np.full(len(values), np.nan), 0)
    again = average_ranks(drawn)
    first = again == again.min(axis=1, keepdims=True)
    best = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return Stability(ranks, best, (again == ranks).mean(axis=0), len(drawn))


def win_share(a: Array, b: Array) -> float:
    """The share of resamples in which the values of a exceed those of b, half of those that tie; NaN without any.

    >>> win_share(np.array([3.0, 1.0, 2.0, np.nan]), np.array([1.0, 2.0, 2.0, 0.0]))
    0.5
    """
    pairs = _shared(a, b)
    return float((2 - average_ranks(pairs)[:, 0]).mean()) if len(pairs) else np.nan


def _shared(*resampled: Array) -> Array:
    """The resamples (r, combinations) in which every combination has a value."""
    shortest = min(map(len, resampled))
    drawn = np.stack([values[:shortest] for values in resampled], axis=1)
    shared: Array = drawn[~np.isnan(drawn).any(axis=1)]
    return shared
