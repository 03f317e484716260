"""An embedding in parts: cases are divided until a part is small, each part is embedded, and parts are joined."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from heatproof.records import Array

from .constraints import Constraints, constraints, refined


@dataclass(frozen=True)
class Embedding:
    """Positions (n, 2), the constraints, which of them (n,) are satisfied, and how many by principal components."""

    positions: Array
    constraints: Constraints
    satisfied: Array
    by_components: int


def embedded(values: Array, k: int, margin: float, steps: int) -> Embedding:
    """Return an embedding of values (n, channel) that satisfies many of the constraints of k neighbours.

    It begins at the joined parts, or at the first two principal components where these satisfy more, and descends the
    hinge loss. ``margin`` is relative to the median distance to the k-th neighbour.
    """
    problem = constraints(values, k)
    linear = plane(values)
    scale = margin * reach(problem)
    joined = assembled(values, problem, np.arange(len(values)), scale, steps)
    start = max([joined, linear], key=lambda positions: int(problem.satisfied(positions).sum()))
    final = refined(start, problem.near, problem.far, scale, steps)
    best = max([start, final], key=lambda positions: int(problem.satisfied(positions).sum()))
    return Embedding(best, problem, problem.satisfied(best), int(problem.satisfied(linear).sum()))


def reach(problem: Constraints) -> float:
    """Return the median distance to the k-th neighbour."""
    return float(np.median(np.where(problem.near, problem.distances, 0).max(axis=1)))


def plane(values: Array) -> Array:
    """Return values (n, channel) on their first two principal axes (n, 2); missing ones are 0."""
    centred = values - values.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    scores = left[:, :2] * sizes[:2]
    return np.pad(scores, ((0, 0), (0, 2 - scores.shape[1])))


def assembled(values: Array, problem: Constraints, rows: Array, margin: float, steps: int) -> Array:
    """Return positions (m, 2) of some rows: divided at the median of the first component, embedded, and joined.

    A part of at most 2k + 2 rows is embedded by its principal components and descent of its hinge loss.
    """
    flat = plane(values[rows])
    if len(rows) <= 2 * problem.k + 2:
        block = np.ix_(rows, rows)
        return refined(flat, problem.near[block], problem.far[block], margin, steps)
    order = np.argsort(flat[:, 0], kind="stable")
    first = order[: len(order) // 2]
    second = order[len(order) // 2 :]
    parts = [assembled(values, problem, rows[part], margin, steps) for part in (first, second)]
    positions = np.empty_like(flat)
    positions[first] = rigid(parts[0], flat[first])
    across = problem.distances[np.ix_(rows[first], rows[second])]
    positions[second] = joined(positions[first], parts[1], flat[second], across, problem.k)
    return positions


def rigid(points: Array, targets: Array, mirrored: bool | None = None) -> Array:
    """Return points (n, 2) turned, shifted and perhaps mirrored so that they are nearest to targets (n, 2)."""
    centre = points.mean(axis=0)
    left, _, right = np.linalg.svd((points - centre).T @ (targets - targets.mean(axis=0)))
    signs = np.ones(2)
    if mirrored is not None:
        signs[1] = (-1) ** mirrored * np.sign(np.linalg.det(left @ right))
    return np.asarray((points - centre) @ (left * signs) @ right + targets.mean(axis=0))


def joined(base: Array, part: Array, targets: Array, across: Array, k: int) -> Array:
    """Return a part (m, 2) moved rigidly so that its distances to a base (n, 2) are those in the features (n, m).

    Only distances between a case and its k nearest of the other side count, relative to their size. The search begins
    with the part at its targets (m, 2), once mirrored and once not.
    """
    pairs = nearest_pairs(across, k)
    lengths = across[pairs]
    lengths = np.maximum(lengths, 1e-6 * max(float(lengths.max()), 1e-300))
    results = [
        moved(base[pairs[0]], rigid(part, targets, mirrored), pairs[1], lengths) for mirrored in (False, True)
    ]  # fmt: skip
    return min(results, key=lambda result: result[0])[1]


def nearest_pairs(across: Array, k: int) -> tuple[Array, Array]:
    """Return the indices of pairs of which one side is among the k nearest of the other, from distances (n, m)."""
    most = min(k, *across.shape)
    close = across <= np.partition(across, most - 1, axis=1)[:, most - 1, None]
    close |= across <= np.partition(across, most - 1, axis=0)[most - 1]
    rows, columns = np.nonzero(close)
    return rows, columns


def moved(ends: Array, part: Array, columns: Array, lengths: Array) -> tuple[float, Array]:
    """Return the cost of the best rigid motion of a part (m, 2), and the part moved.

    Pairs (p,) are ``ends`` (p, 2) and ``columns`` (p,) of the part; ``lengths`` (p,) are their distances.
    """
    centre = part.mean(axis=0)
    size = max(float(np.ptp(part, axis=0).max()), float(lengths.max()))

    def turned(motion: Array) -> Array:
        sine = np.sin(motion[0])
        cosine = np.cos(motion[0])
        return np.asarray((part - centre) @ [[cosine, sine], [-sine, cosine]] + centre + size * motion[1:])

    def misfit(motion: Array) -> Array:
        return np.asarray(np.linalg.norm(ends - turned(motion)[columns], axis=1) / lengths - 1)

    result = least_squares(misfit, np.zeros(3), xtol=1e-12, ftol=1e-12, gtol=1e-12)
    return float(result.cost), turned(result.x)
