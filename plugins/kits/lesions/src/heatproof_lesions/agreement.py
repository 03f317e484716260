"""Computes ECS: the agreement of the hottest cells of a heatmap with the cells of the largest annotated mass."""

from functools import lru_cache
from typing import Literal

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Array

Partition = Literal["area", "floor"]
Ties = Literal["expected", "stable"]

TIE = 1e-12
"""Cells within this share of the lowest chosen value count as tied: rounding errors of sums must not decide."""


def cells(values: Array, grid: int, partition: Partition = "area") -> Array:
    """Sum the mass of a map (height, width) in each of grid x grid cells, float64; the total is conserved.

    ``area`` splits a pixel's mass among the cells it overlaps. ``floor`` gives a pixel's whole mass to the cell of its
    upper left corner; cells then differ in size where the map's side is not a multiple of ``grid``.

    >>> cells(np.arange(25).reshape(5, 5), 2).tolist()
    [[30.0, 45.0], [105.0, 120.0]]
    >>> cells(np.arange(25).reshape(5, 5), 2, "floor").tolist()
    [[12.0, 33.0], [93.0, 162.0]]
    """
    if values.ndim != 2:
        raise DataError(f"cells are defined for maps (height, width); this map has the shape {values.shape}.")
    rows, columns = (_overlaps(length, grid, partition) for length in values.shape)
    with np.errstate(invalid="ignore"):
        mass: Array = rows @ np.asarray(values, dtype=np.float64) @ columns.T / grid**2
    return mass


@lru_cache(maxsize=64)
def _overlaps(length: int, grid: int, partition: Partition) -> Array:
    """Compute the overlap of each cell with each pixel (grid, length), in units of 1 / grid of a pixel.

    The overlaps are whole numbers: equal cells of float32 maps get sums that are equal to the bit.
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
    """Compute for each cell, flat, the probability that it is among the ``count`` largest; the sum is ``count``.

    Cells tied for the last ranks share them evenly (``expected``) or get them row by row (``stable``).

    >>> chosen(np.array([5.0, 2.0, 2.0, 0.0]), 2).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    flat = values.ravel()
    last = np.partition(flat, -count)[-count]
    tied = np.abs(flat - last) <= TIE * np.abs(last)
    above = (flat > last) & ~tied
    remaining = count - np.count_nonzero(above)
    if ties == "stable":
        tied &= np.cumsum(tied) <= remaining
    probabilities: Array = above + tied * (remaining / np.count_nonzero(tied))
    return probabilities


def ecs(annotation: Array, heatmap: Array, top: int, ties: Ties = "expected") -> float:
    """Compute the share of the ``top`` annotated cells that are among the ``top`` cells of the heatmap, in [0, 1].

    Both arguments are the masses of the same cells, in any shape. Only cells with annotated mass count: where there are
    fewer than ``top``, their number is the denominator. NaN where no cell has annotated mass, and for a heatmap that is
    not finite.

    >>> ecs(np.array([[9, 0, 0], [7, 5, 0], [0, 3, 0]]), np.array([[10, 1, 0], [2, 8, 7], [0, 6, 0]]), top=4)
    0.75
    """
    count = min(top, int(np.count_nonzero(annotation > 0)))
    if not count or not np.isfinite(heatmap).all():
        return float("nan")
    lesions = chosen(annotation, count, ties)
    hottest = chosen(heatmap, min(top, heatmap.size), ties)
    return float(lesions @ hottest / count)
