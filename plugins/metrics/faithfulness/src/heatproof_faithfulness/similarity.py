"""How much two heatmaps look alike, whatever their scale."""

from typing import Any

import numpy as np
from scipy.stats import rankdata
from skimage.metrics import structural_similarity

from heatproof.records import Array

WINDOW = 7
"""Pixels along each side of the window of structural similarity, where the grid has so many."""


def spearman(one: Array, other: Array) -> float:
    """The rank correlation (Spearman 1904) of values (n,), ties sharing their mean rank; NaN where all are equal.

    >>> round(spearman(np.array([1.0, 2.0, 4.0]), np.array([3.0, 5.0, 4.0])), 12)
    0.5
    """
    ranks = [rankdata(values) - (values.size + 1) / 2 for values in (one, other)]
    sizes = [float(np.linalg.norm(values)) for values in ranks]
    return float(ranks[0] @ ranks[1] / (sizes[0] * sizes[1])) if all(sizes) else float("nan")


def ssim(one: Array, other: Array, field: Array) -> float:
    """The mean structural similarity (Wang et al. 2004) of the absolute values of two heatmaps (*space) over the field.

    Each is divided by its largest one, so that both lie in [0, 1] and zero stays zero; NaN for a heatmap of zeros. The
    measure is made for brightness, which has no sign: it can call a heatmap and its negative alike.
    """
    sizes = [np.abs(values) for values in (one, other)]
    if not all(size.any() for size in sizes):
        return float("nan")
    least = min(one.shape)
    window = min(WINDOW, least - 1 + least % 2)
    compare: Any = structural_similarity
    _, local = compare(*(size / size.max() for size in sizes), data_range=1.0, win_size=window, full=True)
    return float(local[field].mean())
