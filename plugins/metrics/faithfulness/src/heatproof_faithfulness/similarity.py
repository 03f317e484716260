"""The similarity of two heatmaps, independent of their scale."""

from typing import Any

import numpy as np
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from heatproof.records import Array

WINDOW = 7
"""Pixels along each side of the window of structural similarity; smaller grids have smaller windows."""


def spearman(first: Array, second: Array) -> float:
    """Compute the rank correlation (Spearman 1904) of values (n,); ties share their mean rank. NaN for equal values.

    >>> round(spearman(np.array([1.0, 2.0, 4.0]), np.array([3.0, 5.0, 4.0])), 12)
    0.5
    """
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)


def ssim(first: Array, second: Array, field: Array) -> float:
    """Compute the mean structural similarity (Wang et al. 2004) of two heatmaps' absolute values over the field.

    As in scikit-image, only pixels whose window lies within the grid count; NaN if the field has none of them, and
    where the grid is too narrow for a window of three pixels.
    Heatmaps are (*space). Each is divided by its largest absolute value, to lie in [0, 1]; NaN for a heatmap of zeros.
    Structural similarity is defined for brightness, which has no sign: a heatmap and its negative may be equal to it.
    """
    first = np.abs(first)
    second = np.abs(second)
    shortest = min(first.shape)
    if shortest < 3 or not (first.any() and second.any()):
        return float("nan")
    # The window must be odd and fit into the grid.
    window = min(WINDOW, shortest - 1 + shortest % 2)
    compare: Any = structural_similarity
    _, local = compare(first / first.max(), second / second.max(), data_range=1.0, win_size=window, full=True)
    inner = (slice(window // 2, -(window // 2)),) * first.ndim
    compared = local[inner][field[inner]]
    return float(compared.mean()) if compared.size else float("nan")
