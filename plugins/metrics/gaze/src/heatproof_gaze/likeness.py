"""How alike a heatmap and a map of gaze are: correlation, divergence, and the heat where somebody looked."""

import numpy as np

from heatproof.records import Array


def correlation(heatmap: Array, density: Array) -> float:
    """Pearson's correlation of two maps (*space), in [-1, 1]; NaN where one of them is constant.

    >>> round(correlation(np.array([1.0, 2.0, 4.0]), np.array([0.0, 0.0, 1.0])), 6)
    0.944911
    """
    if not (np.ptp(heatmap) and np.ptp(density)):
        return float("nan")
    one, other = ((values - values.mean()).ravel() for values in (heatmap, density))
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def divergence(density: Array, heatmap: Array, epsilon: float) -> float:
    """Kullback and Leibler's divergence in nats, ≥ 0, of a density from the positive part of a heatmap (*space).

    Both are made of sum 1; the heatmap's is mixed with ``epsilon`` of an even one, so that heat may be missing. NaN
    where one of them has no positive part.

    >>> round(divergence(np.array([1.0, 1.0]), np.array([3.0, 1.0]), 0.0), 6)
    0.143841
    """
    heat = np.maximum(heatmap, 0)
    if not (heat.any() and density.any()):
        return float("nan")
    seen = density > 0
    wanted = (density / density.sum())[seen]
    found = ((1 - epsilon) * heat / heat.sum() + epsilon / heat.size)[seen]
    with np.errstate(divide="ignore"):
        return float(wanted @ np.log(wanted / found))


def scanpath(heatmap: Array, pixels: Array) -> float:
    """The mean of a heatmap (*space), standardised to mean 0 and deviation 1, at pixels (n, d).

    NaN without pixels, or where the heatmap is constant.

    >>> round(scanpath(np.array([0.0, 0.0, 0.0, 4.0]), np.array([[3], [0]])), 6)
    0.57735
    """
    if not (len(pixels) and np.ptp(heatmap)):
        return float("nan")
    return float((heatmap[tuple(pixels.T)].mean() - heatmap.mean()) / heatmap.std())
