"""Means over areas and Gaussian blurs: how values on one grid come to lie on another."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np

from .records import Array


@dataclass(frozen=True)
class Grid:
    """A grid of ``size`` cells centred on a picture of ``native`` pixels; a cell is ``step`` native pixels wide."""

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
        """The share (*size) of each cell that the picture covers."""
        shares = [np.diff(np.clip(edges, 0, native)) / np.diff(edges) for edges, native in zip(self.edges, self.native)]
        return np.asarray(reduce(np.multiply.outer, shares))


def coverage(values: Array, edges: Sequence[Array]) -> Array:
    """The mean of ``values`` (…, *space) over each cell (…, *size) float32; outside the picture counts as zero.

    ``edges`` holds per axis the increasing borders (size + 1,) in continuous native indices; pixel i spans [i, i + 1).
    Overlaps are exact, so a mark smaller than a cell keeps its mass.

    >>> coverage(np.array([0.0, 1.0, 1.0]), [np.array([0.0, 2.0, 3.0])]).tolist()
    [0.5, 1.0]
    """
    for axis, borders in enumerate(edges, start=values.ndim - len(edges)):
        values = _coverage_along(values, axis, borders)
    return values


def _coverage_along(values: Array, axis: int, edges: Array) -> Array:
    """One cell at a time: the few rows below it stay in the processor's cache, and no running sum loses digits."""
    rows = np.moveaxis(values, axis, 0)
    result = np.zeros((len(edges) - 1, *rows.shape[1:]), dtype=np.float32)
    first = np.clip(np.floor(edges[:-1]), 0, len(rows)).astype(int)
    last = np.clip(np.ceil(edges[1:]), 0, len(rows)).astype(int)
    for cell, (low, high) in enumerate(zip(first, last)):
        if low < high:
            inside = np.clip(np.arange(low, high + 1), edges[cell], edges[cell + 1])
            weights = (np.diff(inside) / (edges[cell + 1] - edges[cell])).astype(np.float32)
            block = rows[low:high].astype(np.float32, order="C").reshape(high - low, -1)
            result[cell] = (weights @ block).reshape(result.shape[1:])
    return np.moveaxis(result, 0, axis)


def averaged(image: Array, grid: Grid, fill: float = 0.0) -> Array:
    """The image (c, *native) on the grid (c, *size): the mean over the covered part, ``fill`` where there is none."""
    share = grid.share
    means = coverage(image, grid.edges) / np.where(share > 0, share, 1)
    return np.where(share > 0, means, fill).astype(np.float32)


def blurred(image: Array, sigma: float) -> Array:
    """The Gaussian blur of an image (c, h, w) over four sigma, mirrored at the border without repeating it."""
    height, width = image.shape[1:]
    return np.asarray(_blur(height, sigma) @ image @ _blur(width, sigma).T)


@lru_cache(maxsize=64)
def _blur(length: int, sigma: float) -> Array:
    """The blur along one axis as a matrix (length, length)."""
    margin = reach(sigma)
    kernel = np.exp(-0.5 * (np.arange(-margin, margin + 1) / sigma) ** 2)
    sources = np.lib.stride_tricks.sliding_window_view(
        np.pad(np.arange(length), margin, mode="reflect"), 2 * margin + 1
    )
    matrix = np.zeros((length, length))
    np.add.at(matrix, (np.arange(length)[:, None], sources), kernel / kernel.sum())
    return matrix.astype(np.float32)


def reach(sigma: float) -> int:
    """How many pixels to each side a blur looks."""
    return max(1, int(4 * sigma + 0.5))
