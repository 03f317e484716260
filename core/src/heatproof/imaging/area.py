"""Means over areas: how values on one grid come to lie on another."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import ceil, floor, prod
from typing import Any, TypeAlias

import numpy as np

from ..records import Array

Block: TypeAlias = tuple[slice, slice, Array]
"""A part of a matrix that is zero but for a band: its rows, its columns, and the values there."""
TOGETHER = 4
"""Cells per block: fewer make more calls, more make products with zeros."""


@dataclass(frozen=True)
class Grid:
    """A grid of ``size`` cells centred on an image of ``native`` pixels; a cell is ``step`` native pixels wide."""

    native: tuple[int, ...]
    size: tuple[int, ...]
    step: tuple[float, ...]

    @property
    def edges(self) -> list[Array]:
        """Per axis the native positions (size + 1,) of the cells' borders."""
        return [
            native / 2 + (np.arange(size + 1) - size / 2) * step
            for native, size, step in zip(self.native, self.size, self.step)
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
    """The mean of ``values`` (…, *space) over each cell (…, *size) float32; outside the image counts as zero.

    ``edges`` holds per axis the increasing borders (size + 1,) in continuous native indices; pixel i spans [i, i + 1).
    Overlaps are exact, so a mark smaller than a cell keeps its mass.

    >>> coverage(np.array([0.0, 1.0, 1.0]), [np.array([0.0, 2.0, 3.0])]).tolist()
    [0.5, 1.0]
    """
    # Only what lies below a cell is looked at along the other axes.
    lengths = values.shape[values.ndim - len(edges) :]
    below: Any = [slice(max(0, floor(cuts[0])), max(0, ceil(cuts[-1]))) for cuts in edges]
    values = values[(..., *below)]
    for axis, (borders, near, length) in enumerate(zip(edges, below, lengths), start=values.ndim - len(edges)):
        blocks = _overlaps(values.shape[axis], tuple(float(border) - min(near.start, length) for border in borders))
        values = banded(values, axis, len(borders) - 1, blocks)
    return values


def banded(values: Array, axis: int, size: int, blocks: Sequence[Block]) -> Array:
    """The product along one axis with a matrix (size, length) that is zero but for these blocks.

    What a block needs stays in the processor's cache, and no running sum loses digits.
    """
    before, length, after = values.shape[:axis], values.shape[axis], values.shape[axis + 1 :]
    rows = values.reshape(prod(before), length, prod(after))
    result = np.zeros((len(rows), size, rows.shape[2]), dtype=np.float32)
    for cells, near, weights in blocks:
        seen = rows[:, near]
        # Most of a mask is empty, and for bool alone a look costs less than a product.
        if seen.dtype != bool or seen.any():
            seen = seen.astype(np.float32, copy=False)
            # One product for all rows of the last axis, instead of one per row.
            result[:, cells] = weights @ seen if after else (seen[..., 0] @ weights.T)[..., None]
    return result.reshape(*before, size, *after)


@lru_cache(maxsize=64)
def _overlaps(length: int, edges: tuple[float, ...]) -> list[Block]:
    """The share of each cell between ``edges`` that each of ``length`` pixels makes up, some cells at a time."""
    borders = np.asarray(edges)
    starts = range(0, len(edges) - 1, TOGETHER)
    return [block for start in starts if (block := _overlap(length, start, borders[start : start + TOGETHER + 1]))]


def _overlap(length: int, start: int, borders: Array) -> Block | None:
    """The block of the cells from ``start`` on, None where none of them lies on the image."""
    low, high = max(0, floor(borders[0])), min(length, ceil(borders[-1]))
    if low >= high:
        return None
    inside = np.clip(np.arange(low, high + 1), borders[:-1, None], borders[1:, None])
    weights = (np.diff(inside) / np.diff(borders)[:, None]).astype(np.float32)
    return slice(start, start + len(weights)), slice(low, high), weights


def averaged(image: Array, grid: Grid) -> Array:
    """The image (c, *native) on the grid (c, *size): the mean over the covered part, 0 where there is none."""
    share = grid.share
    means = coverage(image, grid.edges) / np.where(share > 0, share, 1)
    return np.where(share > 0, means, 0).astype(np.float32)
