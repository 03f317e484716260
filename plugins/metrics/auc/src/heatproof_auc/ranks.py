"""The area under the ROC curve of every resample in one call.

It is computed here because ``sklearn.metrics.roc_auc_score`` sorts again for each resample and would take minutes.
"""

import numpy as np

from heatproof.records import Array

BLOCK = 2**18
"""Counts per block: few enough for the processor's cache."""


def auc(scores: Array, positive: Array, counts: Array) -> Array:
    """Compute how often a positive case scores above a negative one, ties counting half, per resample (r,).

    ``positive`` (cases,) is 1 or 0. A case with NaN in it or in ``scores`` (cases,) is left out. ``counts`` (r, cases)
    says how often each case occurs. NaN for a resample without positive or without negative cases.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]), np.array([[1, 1, 1, 1], [0, 1, 1, 0]])).tolist()
    [0.75, 0.0]
    """
    defined = ~np.isnan(scores)
    upper = np.flatnonzero(defined & (positive == 1))
    lower = np.flatnonzero(defined & (positive == 0))
    lower = lower[np.argsort(scores[lower])]
    below = [np.searchsorted(scores[lower], scores[upper], side) for side in ("left", "right")]
    parts = blocks(counts, len(scores))
    return np.concatenate([_block(block[:, upper], block[:, lower], *below) for block in parts])


def blocks(counts: Array, columns: int) -> list[Array]:
    """Split counts (r, cases) into blocks of resamples, for tables with so many columns."""
    rows = max(1, BLOCK // max(1, columns))
    return [counts[start : start + rows] for start in range(0, len(counts), rows)]


def _block(upper: Array, lower: Array, worse: Array, not_better: Array) -> Array:
    """Compute the area of some resamples from the counts of positive (r, p) and of sorted negative cases (r, n).

    ``worse`` and ``not_better`` (p,) are the numbers of negative cases below, or not above, each positive case.
    """
    cumulated = np.zeros((len(lower), lower.shape[1] + 1))
    np.cumsum(lower, axis=1, out=cumulated[:, 1:])
    wins = np.einsum("rp,rp->r", upper.astype(np.float64), cumulated[:, worse] + cumulated[:, not_better]) / 2
    pairs = upper.sum(axis=1) * cumulated[:, -1]
    areas: Array = np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return areas
