"""The area under the ROC curve from ranks, of every resample in one call."""

import numpy as np

from heatproof.records import Array

BLOCK = 2**18
"""How many counts are worked on at a time: few enough for the processor's cache."""


def auc(scores: Array, positive: Array, counts: Array) -> Array:
    """How often a positive case scores above a negative one, ties counting half, per resample (r,).

    ``scores`` and ``positive`` (cases,) may hold NaN, which leaves a case out; ``counts`` (r, cases) says how often
    each case occurs. NaN for a resample without a positive or without a negative case.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]), np.array([[1, 1, 1, 1], [0, 1, 1, 0]])).tolist()
    [0.75, 0.0]
    """
    upper = np.flatnonzero(positive == 1)
    lower = np.flatnonzero(positive == 0)
    upper, lower = (group[~np.isnan(scores[group])] for group in (upper, lower))
    lower = lower[np.argsort(scores[lower])]
    below = [np.searchsorted(scores[lower], scores[upper], side) for side in ("left", "right")]
    rows = max(1, BLOCK // max(1, len(scores)))
    blocks = [counts[start : start + rows] for start in range(0, len(counts), rows)]
    return np.concatenate([_block(block[:, upper], block[:, lower], *below) for block in blocks])


def _block(upper: Array, lower: Array, worse: Array, not_better: Array) -> Array:
    """The area of some resamples, from the counts of positive (r, p) and of sorted negative cases (r, n).

    ``worse`` and ``not_better`` (p,) say how many of the negative cases are below, or not above, each positive one.
    """
    cumulated = np.zeros((len(lower), lower.shape[1] + 1))
    np.cumsum(lower, axis=1, out=cumulated[:, 1:])
    wins = np.einsum("rp,rp->r", upper.astype(np.float64), cumulated[:, worse] + cumulated[:, not_better]) / 2
    pairs = upper.sum(axis=1) * cumulated[:, -1]
    areas: Array = np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return areas
