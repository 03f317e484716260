"""How far the hottest cells of a heatmap agree with the cells where most annotated mass lies: ECS, the formula."""

from functools import lru_cache
from typing import Literal

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Array

Partition = Literal["area", "floor"]
Ties = Literal["expected", "stable"]

TIE = 1e-12
"""Cells closer than this share of the lowest chosen value are tied: the order of additions must not decide."""


def cells(values: Array, grid: int, partition: Partition = "area") -> Array:
    """The mass of a map (height, width) in each of grid x grid cells, float64; the total is conserved.

    ``area`` splits a pixel's mass among the cells it overlaps; ``floor`` gives it whole to the cell of its upper left
    corner, which makes cells of unequal size where the map's side is no multiple of ``grid``.

    >>> cells(np.arange(25).reshape(5, 5), 2).tolist()
    [[30.0, 45.0], [105.0, 120.0]]
    >>> cells(np.arange(25).reshape(5, 5), 2, "floor").tolist()
    [[12.0, 33.0], [93.0, 162.0]]
    """
    if values.ndim != 2:
        raise DataError(f"a grid of cells is laid on maps (height, width); this one has the shape {values.shape}.")
    rows, columns = (_overlaps(length, grid, partition) for length in values.shape)
    with np.errstate(invalid="ignore"):
        mass: Array = rows @ np.asarray(values, dtype=np.float64) @ columns.T / grid**2
    return mass


@lru_cache(maxsize=64)
def _overlaps(length: int, grid: int, partition: Partition) -> Array:
    """How far each cell overlaps each pixel (grid, length), in units of 1 / grid of a pixel.

    Whole numbers, so that the sums over float32 maps with equal cells are equal to the bit.
    """
    edges = np.arange(grid + 1) * length
    if partition == "floor":
        edges = edges // grid * grid
    pixels = np.arange(length + 1) * grid
    ends = np.minimum(edges[1:, None], pixels[None, 1:])
    starts = np.maximum(edges[:-1, None], pixels[None, :-1])
    overlaps: Array = np.maximum(ends - starts, 0).astype(np.float64)
    return overlaps


def chosen(values: Array, count: int, ties: Ties = "expected") -> Array:
    """How likely each cell is among the ``count`` largest, flat; they sum to ``count``.

    Cells tied for the last places share them evenly (``expected``) or are taken row by row (``stable``).

    >>> chosen(np.array([5.0, 2.0, 2.0, 0.0]), 2).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    flat = values.ravel()
    last = np.partition(flat, -count)[-count]
    tied = np.abs(flat - last) <= TIE * np.abs(last)
    above = (flat > last) & ~tied
    places = count - np.count_nonzero(above)
    if ties == "stable":
        tied &= np.cumsum(tied) <= places
    likely: Array = above + tied * (places / np.count_nonzero(tied))
    return likely


def ecs(annotation: Array, heatmap: Array, top: int, ties: Ties = "expected") -> float:
    """The share of the ``top`` annotated cells that are among the ``top`` cells of the heatmap, in [0, 1].

    Both are the masses of the same cells, in any shape. Only cells with lesion mass can be asked for, so that fewer
    than ``top`` of them lower the denominator. NaN where no cell has any, or where the heatmap is not finite.

    >>> ecs(np.array([[9, 0, 0], [7, 5, 0], [0, 3, 0]]), np.array([[10, 1, 0], [2, 8, 7], [0, 6, 0]]), top=4)
    0.75
    """
    wanted = min(top, int(np.count_nonzero(annotation > 0)))
    if not wanted or not np.isfinite(heatmap).all():
        return float("nan")
    asked = chosen(annotation, wanted, ties)
    found = chosen(heatmap, min(top, heatmap.size), ties)
    return float(asked @ found / wanted)
