"""Compares a heatmap with gaze: correlation and divergence with a density, and the heat at the fixations."""

import numpy as np

from heatproof.records import Array


def correlation(heatmap: Array, density: Array) -> float:
    """Compute Pearson's correlation of two maps (*space), in [-1, 1]; NaN where one of them is constant.

    >>> round(correlation(np.array([1.0, 2.0, 4.0]), np.array([0.0, 0.0, 1.0])), 6)
    0.944911
    """
    if not (np.ptp(heatmap) and np.ptp(density)):
        return float("nan")
    return float(np.corrcoef(heatmap.ravel(), density.ravel())[0, 1])


def divergence(density: Array, heatmap: Array, epsilon: float) -> float:
    """Compute the Kullback-Leibler divergence in nats, ≥ 0, of a density from a heatmap's positive part (*space).

    Both are divided by their sum. The heatmap is then mixed with a share ``epsilon`` of a uniform density, because zero
    heat at a fixation makes the divergence infinite. NaN where the density or the positive part is zero everywhere.

    >>> round(divergence(np.array([1.0, 1.0]), np.array([3.0, 1.0]), 0.0), 6)
    0.143841
    """
    heat = np.maximum(heatmap, 0)
    if not (heat.any() and density.any()):
        return float("nan")
    # Not scipy.special.rel_entr, which computes a logarithm for every pixel and takes twice as long.
    fixated = density > 0
    observed = (density / density.sum())[fixated]
    predicted = ((1 - epsilon) * heat / heat.sum() + epsilon / heat.size)[fixated]
    # Without epsilon, zero heat at a fixation gives infinity.
    with np.errstate(divide="ignore"):
        return float(observed @ np.log(observed / predicted))


def scanpath(heatmap: Array, pixels: Array) -> float:
    """Compute the mean at pixels (n, d) of a heatmap (*space), standardised to mean 0 and standard deviation 1.

    NaN without pixels, or where the heatmap is constant.

    >>> round(scanpath(np.array([0.0, 0.0, 0.0, 4.0]), np.array([[3], [0]])), 6)
    0.57735
    """
    if not (len(pixels) and np.ptp(heatmap)):
        return float("nan")
    fixated = heatmap[tuple(pixels.T)]
    return float((fixated.mean() - heatmap.mean()) / heatmap.std())
