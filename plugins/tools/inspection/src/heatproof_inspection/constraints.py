"""Constraints on an embedding: the nearest neighbours of a case in the plane shall be those in the features."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from heatproof.records import Array

TIE = 1e-6
"""Distances that differ by this share or less are tied: features have the precision of float32."""


@dataclass(frozen=True)
class Constraints:
    """One constraint per case: its k nearest in the plane are k nearest in the features, of tied ones any.

    ``must`` (n, n) bool are strictly among the k nearest of a row, ``far`` (n, n) strictly not among them; other cases
    are tied. ``near`` (n, n) are k nearest, of tied ones the first. ``distances`` (n, n) are those of the features.
    """

    k: int
    distances: Array
    must: Array
    near: Array
    far: Array

    def satisfied(self, positions: Array) -> Array:
        """Return which constraints (n,) bool positions (n, dimension) satisfy; a tie with a far case does not."""
        apart = cdist(positions, positions)
        itself = np.eye(len(apart), dtype=bool)
        required = np.where(self.must, apart, 0).max(axis=1)
        allowed = np.where(self.far | itself, np.inf, apart)
        reach = np.partition(allowed, self.k - 1, axis=1)[:, self.k - 1]
        outside = np.where(self.far, apart, np.inf).min(axis=1)
        return np.asarray((required <= reach) & (reach < outside))


def constraints(values: Array, k: int) -> Constraints:
    """Return the constraints of values (n, channel), by Euclidean distances; n must exceed k.

    >>> constraints(np.array([[0.0], [1], [3], [6]]), 1).near.argmax(axis=1).tolist()
    [1, 0, 1, 2]
    """
    distances = cdist(values, values)
    others = distances + np.where(np.eye(len(values), dtype=bool), np.inf, 0)
    reach = np.partition(others, k - 1, axis=1)[:, k - 1, None]
    near = np.zeros(others.shape, bool)
    np.put_along_axis(near, np.argsort(others, axis=1, kind="stable")[:, :k], True, axis=1)
    far = (others > reach * (1 + TIE)) & np.isfinite(others)
    return Constraints(k, distances, others < reach * (1 - TIE), near, far)


def hinge(positions: Array, near: Array, far: Array, margin: float) -> tuple[float, Array]:
    """Return the loss of positions (n, 2) and its gradient (n, 2).

    The loss is the sum over i, j near i and l far from i of max(0, |yi - yj| + margin - |yi - yl|)².
    """
    apart = cdist(positions, positions)
    slopes = np.zeros_like(apart)
    loss = 0.0
    order = np.argsort(~near, axis=1, kind="stable")
    rows = np.arange(len(apart))
    for rank in range(int(near.sum(axis=1).max(initial=0))):
        columns = order[:, rank]
        excess = apart[rows, columns, None] + margin - apart
        excess = np.where(far & near[rows, columns, None], np.maximum(excess, 0), 0)
        loss += float((excess**2).sum())
        slopes -= 2 * excess
        slopes[rows, columns] += 2 * excess.sum(axis=1)
    weights = np.divide(slopes + slopes.T, apart, out=np.zeros_like(apart), where=apart > 0)
    return loss, weights.sum(axis=1)[:, None] * positions - weights @ positions


def violations(positions: Array, near: Array, far: Array) -> int:
    """Return how many cases have a far case that is not farther than all near ones."""
    apart = cdist(positions, positions)
    reach = np.where(near, apart, -1).max(axis=1)
    outside = np.where(far, apart, np.inf).min(axis=1)
    return int((reach >= outside).sum())


def refined(positions: Array, near: Array, far: Array, margin: float, steps: int) -> Array:
    """Return positions (n, 2) after descent of the hinge loss, or as they were where that violates no fewer cases."""
    violated = violations(positions, near, far)
    best = positions
    current = positions
    for part in (1.0, 0.3, 0.1):
        if not violated:
            break
        current = _descended(current, near, far, part * margin, steps)
        count = violations(current, near, far)
        if count < violated:
            violated = count
            best = current
    return best


def _descended(positions: Array, near: Array, far: Array, margin: float, steps: int) -> Array:
    def flat(vector: Array) -> tuple[float, Array]:
        loss, gradient = hinge(vector.reshape(-1, 2), near, far, margin)
        return loss, gradient.ravel()

    result = minimize(flat, positions.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    return np.asarray(result.x).reshape(-1, 2)
