"""The free-response curve of candidate lists: points with scores, such as a detector returns."""

from dataclasses import dataclass

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Array


@dataclass(frozen=True)
class Curve:
    """One point per threshold; thresholds ascend, and the last is above all scores.

    ``false_positives`` (points,) are per image, ``sensitivity`` (points,) is the share of all lesions.
    """

    thresholds: Array
    false_positives: Array
    sensitivity: Array


def matched(points: Array, scores: Array, lesions: Array) -> tuple[Array, Array]:
    """Return the best score of each lesion (l,), NaN where missed, and the scores of the false positives (f,).

    ``points`` (c, d) are the pixels of the candidates of an image, ``scores`` (c,) their scores. ``lesions`` (*space)
    numbers the lesions from 1; 0 is outside all lesions, and candidates on negative numbers are ignored.

    >>> matched(np.array([[0], [1], [3]]), np.array([0.2, 0.9, 0.5]), np.array([1, 1, 2, 0]))
    (array([0.9, nan]), array([0.5]))
    """
    if not np.isfinite(scores).all():
        raise DataError("a candidate's score is not finite: give every candidate a finite score.")
    number = lesions[tuple(np.asarray(points).reshape(len(scores), lesions.ndim).T)]
    best = np.full(max(0, int(lesions.max(initial=0))), -np.inf)
    inside = number > 0
    np.maximum.at(best, number[inside] - 1, scores[inside])
    return np.where(np.isinf(best), np.nan, best), scores[number == 0]


def candidate_curve(best: Array, false_positives: Array, images: int, drop_lowest: bool = False) -> Curve:
    """Compute the curve of all images from the ``best`` score per lesion (NaN: missed) and the false positives' scores.

    ``images`` includes those without lesions. Thresholds are the scores. ``drop_lowest`` leaves out the lowest one
    if no lesion was missed, as the CAMELYON16 program does; this loses the best point.

    Ehteshami Bejnordi et al., "Diagnostic assessment of deep learning algorithms for detection of lymph node
    metastases in women with breast cancer", JAMA 318 (2017).

    >>> candidate_curve(np.array([0.9, 0.4]), np.array([0.5]), images=1)  # doctest: +NORMALIZE_WHITESPACE
    Curve(thresholds=array([0.4, 0.5, 0.9, inf]), false_positives=array([1., 1., 0., 0.]),
          sensitivity=array([1. , 0.5, 0.5, 0. ]))
    """
    if images < 1 or not len(best):
        raise DataError(f"a free-response curve needs images and lesions (got {images} and {len(best)}).")
    hits = best[~np.isnan(best)]
    thresholds = np.unique(np.concatenate([hits, false_positives]))
    if drop_lowest and len(hits) == len(best):
        thresholds = thresholds[1:]
    thresholds = np.append(thresholds, np.inf)
    per_image = _count_at_least(false_positives, thresholds) / images
    return Curve(thresholds, per_image, _count_at_least(hits, thresholds) / len(best))


def _count_at_least(scores: Array, thresholds: Array) -> Array:
    """Count the scores that reach each threshold (t,)."""
    return np.asarray(len(scores) - np.searchsorted(np.sort(scores), thresholds))
