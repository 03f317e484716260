"""Linear imputation: each missing pixel becomes the weighted mean of its neighbours, by one system of equations."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from heatproof.records import Array


def imputed(image: Array, missing: Array) -> Array:
    """Return the image (c, *space) in float64 with its missing pixels (*space) bool imputed; some must be present.

    A neighbour's weight is the inverse of the number of axes along which it differs: in 2-D, 1 across a side and 1/2
    across a corner. Weights are divided by their sum over the neighbours within the grid.
    """
    result = np.array(image, dtype=np.float64)
    if missing.any():
        matrix, sums = system(result, missing)
        # The matrix is symmetric and positive definite: it needs no pivoting.
        solver = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        result[:, missing] = solver.solve(sums).T
    return result


def system(image: Array, missing: Array) -> tuple[csc_array, Array]:
    """Build the matrix (m, m) and the right sides (m, c) of the equations of m missing pixels, in grid order."""
    count = int(np.count_nonzero(missing))
    index = np.full(missing.shape, -1)
    index[missing] = np.arange(count)
    diagonal = np.zeros(count)
    sums = np.zeros((len(image), count))
    entries = []
    for weight, pixels, neighbours in _neighbours(missing.shape):
        row = index[pixels]
        column = index[neighbours]
        diagonal += weight * np.bincount(row[row >= 0], minlength=count)
        present = (row >= 0) & (column < 0)
        for channel, values in zip(sums, image):
            channel += weight * np.bincount(row[present], weights=values[neighbours][present], minlength=count)
        absent = (row >= 0) & (column >= 0)
        entries.append((np.full(np.count_nonzero(absent), -weight), row[absent], column[absent]))
    entries.append((diagonal, np.arange(count), np.arange(count)))
    values, rows, columns = (np.concatenate(parts) for parts in zip(*entries))
    return csc_array((values, (rows, columns)), shape=(count, count)), sums.T


def _neighbours(space: tuple[int, ...]) -> Iterator[tuple[float, tuple[slice, ...], tuple[slice, ...]]]:
    """For each direction: the weight, the pixels with a neighbour in it, and these neighbours."""
    for steps in product((-1, 0, 1), repeat=len(space)):
        if any(steps):
            pixels = tuple(slice(max(0, -step), size - max(0, step)) for step, size in zip(steps, space))
            neighbours = tuple(slice(max(0, step), size - max(0, -step)) for step, size in zip(steps, space))
            yield 1 / sum(map(abs, steps)), pixels, neighbours
