"""Linear imputation: each missing pixel is the weighted mean of its neighbours, missing or not, all solved together."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from heatproof.records import Array


def imputed(image: Array, missing: Array) -> Array:
    """The image (c, *space) in float64 with its missing pixels (*space) bool imputed; not all may be missing.

    Neighbours that share a side weigh twice as much as those over a corner in 2-D, and in general the inverse of the
    number of axes along which they differ; weights sum to 1 over the neighbours that the grid has.
    """
    made = np.array(image, dtype=np.float64)
    if missing.any():
        matrix, sums = system(made, missing)
        # It is symmetric and positive definite: no pivoting, and an order of elimination made for such.
        solver = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        made[:, missing] = solver.solve(sums).T
    return made


def system(image: Array, missing: Array) -> tuple[csc_array, Array]:
    """The matrix (m, m) and right sides (m, c) of the equations of m missing pixels, in order of the grid."""
    count = int(np.count_nonzero(missing))
    index = np.full(missing.shape, -1)
    index[missing] = np.arange(count)
    diagonal, sums = np.zeros(count), np.zeros((len(image), count))
    entries = []
    for weight, here, there in _neighbours(missing.shape):
        own, other = index[here], index[there]
        diagonal += weight * np.bincount(own[own >= 0], minlength=count)
        known, unknown = (own >= 0) & (other < 0), (own >= 0) & (other >= 0)
        for channel, values in zip(sums, image):
            channel += weight * np.bincount(own[known], weights=values[there][known], minlength=count)
        entries.append((np.full(np.count_nonzero(unknown), -weight), own[unknown], other[unknown]))
    entries.append((diagonal, np.arange(count), np.arange(count)))
    values, rows, columns = (np.concatenate(parts) for parts in zip(*entries))
    return csc_array((values, (rows, columns)), shape=(count, count)), sums.T


def _neighbours(space: tuple[int, ...]) -> Iterator[tuple[float, tuple[slice, ...], tuple[slice, ...]]]:
    """For each direction the weight, the pixels that have a neighbour there, and these neighbours."""
    for steps in product((-1, 0, 1), repeat=len(space)):
        if any(steps):
            here = tuple(slice(max(0, -step), size - max(0, step)) for step, size in zip(steps, space))
            there = tuple(slice(max(0, step), size - max(0, -step)) for step, size in zip(steps, space))
            yield 1 / sum(map(abs, steps)), here, there
