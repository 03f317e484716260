"""Resampling by area: the mean of an image's values over each cell of a grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import ceil, floor, prod
from typing import Any, TypeAlias

import numpy as np

from ..records import Array

Block: TypeAlias = tuple[slice, slice, Array]
"""A block of a banded matrix: its rows, its columns, and its values."""
TOGETHER = 4
"""Cells per block: smaller blocks need more calls, larger blocks multiply more zeros."""


@dataclass(frozen=True)
class Grid:
    """A grid of ``size`` cells on an image of ``native`` pixels; a cell is ``step`` native pixels wide.

    ``centre`` is the position of the grid's middle on the image in continuous indices, by default the image's middle.
    """

    native: tuple[int, ...]
    size: tuple[int, ...]
    step: tuple[float, ...]
    centre: tuple[float, ...] | None = None

    @property
    def edges(self) -> list[Array]:
        """The native positions (size + 1,) of the cells' borders along each axis."""
        centre = self.centre or tuple(native / 2 for native in self.native)
        return [
            middle + (np.arange(size + 1) - size / 2) * step for middle, size, step in zip(centre, self.size, self.step)
        ]

    @property
    def affine(self) -> Array:
        """The matrix (d + 1, d + 1) from continuous grid indices to continuous native indices."""
        matrix = np.diag([*self.step, 1.0])
        matrix[:-1, -1] = [edges[0] for edges in self.edges]
        return matrix

    @property
    def share(self) -> Array:
        """The share (*size) of each cell that the image covers."""
        shares = [np.diff(np.clip(edges, 0, native)) / np.diff(edges) for edges, native in zip(self.edges, self.native)]
        return np.asarray(reduce(np.multiply.outer, shares))


def coverage(values: Array, edges: Sequence[Array]) -> Array:
    """The mean of ``values`` (…, *space) over each cell (…, *size) float32; values outside the image are zero.

    ``edges`` holds the increasing borders (size + 1,) of each axis in continuous native indices; pixel i spans
    [i, i + 1). Overlaps are exact, so a mask smaller than a cell keeps its mass.

    >>> coverage(np.array([0.0, 1.0, 1.0]), [np.array([0.0, 2.0, 3.0])]).tolist()
    [0.5, 1.0]
    """
    # Cut away the pixels outside the grid first, so that no axis is resampled at them.
    first = values.ndim - len(edges)
    starts = [min(max(0, floor(borders[0])), length) for borders, length in zip(edges, values.shape[first:])]
    covered: Any = [slice(start, max(0, ceil(borders[-1]))) for start, borders in zip(starts, edges)]
    values = values[(..., *covered)]
    for axis, (borders, start) in enumerate(zip(edges, starts), start=first):
        blocks = _overlaps(values.shape[axis], tuple(float(border) - start for border in borders))
        values = banded(values, axis, len(borders) - 1, blocks)
    return values


def banded(values: Array, axis: int, size: int, blocks: Sequence[Block]) -> Array:
    """Multiply the values along one axis by a matrix (size, length) that is zero outside these blocks."""
    before = values.shape[:axis]
    after = values.shape[axis + 1 :]
    rows = values.reshape(prod(before), values.shape[axis], prod(after))
    result = np.zeros((len(rows), size, rows.shape[2]), dtype=np.float32)
    # A block's values fit into the processor's cache; a running sum would be as fast, but lose digits.
    for cells, pixels, weights in blocks:
        part = rows[:, pixels]
        # Most of a mask is empty, and only for bool is any() cheaper than the product.
        if part.dtype == bool and not part.any():
            continue
        part = part.astype(np.float32, copy=False)
        if after:
            result[:, cells] = weights @ part
        else:  # one product for all rows along the last axis, instead of one per row
            result[:, cells, 0] = part[..., 0] @ weights.T
    return result.reshape(*before, size, *after)


@lru_cache(maxsize=64)
def _overlaps(length: int, edges: tuple[float, ...]) -> list[Block]:
    """The blocks of the matrix that holds the share of each of ``length`` pixels in each cell between ``edges``."""
    borders = np.asarray(edges)
    starts = range(0, len(edges) - 1, TOGETHER)
    blocks = [_overlap(length, start, borders[start : start + TOGETHER + 1]) for start in starts]
    return [block for block in blocks if block is not None]


def _overlap(length: int, start: int, borders: Array) -> Block | None:
    """The block of the cells from ``start`` on; None if they all lie outside the image."""
    low = max(0, floor(borders[0]))
    high = min(length, ceil(borders[-1]))
    if low >= high:
        return None
    inside = np.clip(np.arange(low, high + 1), borders[:-1, None], borders[1:, None])
    weights = (np.diff(inside) / np.diff(borders)[:, None]).astype(np.float32)
    return slice(start, start + len(weights)), slice(low, high), weights


def averaged(image: Array, grid: Grid) -> Array:
    """The image (c, *native) on the grid (c, *size): the mean over the covered part of each cell, 0 in empty cells."""
    share = grid.share
    means = coverage(image, grid.edges) / np.where(share > 0, share, 1)
    return np.where(share > 0, means, 0).astype(np.float32)
