"""The standardised partial area under the ROC curve of every resample in one call."""

import numpy as np

from heatproof.records import Array

from .ranks import blocks


def partial_auc(scores: Array, positive: Array, counts: Array, max_fpr: float) -> Array:
    """Compute the area up to the false positive rate ``max_fpr``, standardised to 0.5 for chance and 1 at best (r,).

    ``positive`` (cases,) is 1 or 0. A case with NaN in it or in ``scores`` (cases,) is left out. ``counts`` (r, cases)
    says how often each case occurs. The curve is linear between its points. NaN for a resample without positive or
    without negative cases.

    McClish, "Analyzing a portion of the ROC curve", Medical Decision Making 9 (1989), as in
    ``sklearn.metrics.roc_auc_score``.

    >>> partial_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]), np.ones((1, 4)), 0.5).round(4).tolist()
    [0.6667]
    """
    used = np.flatnonzero(~np.isnan(scores) & ~np.isnan(positive))
    order = used[np.argsort(-scores[used], kind="stable")]
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    parts = blocks(counts, len(order))
    areas = np.concatenate([_area(*_rates(block[:, order], positive[order], ends), max_fpr) for block in parts])
    least = max_fpr**2 / 2
    return 0.5 * (1 + (areas - least) / (max_fpr - least))


def _rates(counts: Array, positive: Array, ends: Array) -> tuple[Array, Array]:
    """Compute the false and the true positive rates (r, points) at falling thresholds, both from 0."""
    rates = []
    for kind in (0, 1):
        reached = np.cumsum(counts * (positive == kind), axis=1, dtype=np.float64)[:, ends]
        totals = reached[:, -1:] if len(ends) else np.zeros((len(counts), 1))
        shares = np.divide(reached, totals, out=np.full(reached.shape, np.nan), where=totals > 0)
        rates.append(np.hstack([np.where(totals > 0, 0.0, np.nan), shares]))
    return rates[0], rates[1]


def _area(false: Array, true: Array, max_fpr: float) -> Array:
    """Compute the areas (r,) under curves of false and true positive rates (r, points), up to ``max_fpr``."""
    cut = np.minimum(false, max_fpr)
    run = np.diff(false, axis=1)
    width = np.diff(cut, axis=1)
    part = np.divide(width, run, out=np.zeros(run.shape), where=run > 0)
    heights = true[:, :-1] + np.diff(true, axis=1) * part / 2
    areas: Array = (width * heights).sum(axis=1)
    return areas
