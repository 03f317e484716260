"""The free-response curve of candidates: points with scores, such as those of a detector."""

from dataclasses import dataclass

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Array


@dataclass(frozen=True)
class Curve:
    """A free-response curve with one point per threshold, in ascending order; the last threshold is infinity.

    ``false_positives`` (points,) is their mean number per image, ``sensitivity`` (points,) the share of lesions hit.
    """

    thresholds: Array
    false_positives: Array
    sensitivity: Array


def matched(points: Array, scores: Array, lesions: Array) -> tuple[Array, Array]:
    """Return the best score of each lesion (l,), NaN for missed lesions, and the scores of the false positives (f,).

    ``points`` (c, d) are the pixels of the candidates of an image, ``scores`` (c,) their scores. ``lesions`` (*space)
    holds the number of each pixel's lesion, above 0, and 0 outside. A lesion with a negative number is ignored: it is
    no target, and a candidate on it no false positive.

    >>> matched(np.array([[0], [1], [3]]), np.array([0.2, 0.9, 0.5]), np.array([1, 1, 2, 0]))
    (array([0.9, nan]), array([0.5]))
    """
    if not np.isfinite(scores).all():
        raise DataError("a candidate's score is not finite: give every candidate a finite score.")
    # The reshape also accepts an empty list of points.
    positions = np.asarray(points).reshape(len(scores), lesions.ndim)
    numbers = lesions[tuple(positions.T)]
    targets = np.unique(lesions[lesions > 0])
    best = np.full(len(targets), -np.inf)
    inside = numbers > 0
    np.maximum.at(best, np.searchsorted(targets, numbers[inside]), scores[inside])
    return np.where(np.isinf(best), np.nan, best), scores[numbers == 0]


def candidate_curve(best: Array, false_positives: Array, images: int, drop_lowest: bool = False) -> Curve:
    """Compute the curve of all images from the ``best`` score per lesion (NaN: missed) and the false positives' scores.

    ``images`` is the number of images, also of those without lesions. Each distinct score is a threshold. If no lesion
    was missed, ``drop_lowest`` leaves out the lowest threshold and thereby the point of highest sensitivity, as the
    evaluation program of CAMELYON16 does (Ehteshami Bejnordi et al., "Diagnostic assessment of deep learning algorithms
    for detection of lymph node metastases in women with breast cancer", JAMA 318, 2017).

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
    per_image = count_at_least(false_positives, thresholds) / images
    sensitivity = count_at_least(hits, thresholds) / len(best)
    return Curve(thresholds, per_image, sensitivity)


def count_at_least(scores: Array, thresholds: Array) -> Array:
    """Count the scores that reach each threshold (t,)."""
    return np.asarray(len(scores) - np.searchsorted(np.sort(scores), thresholds))
