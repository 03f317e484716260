"""Edge maps: the closed chains of pixels just outside a nodule with which readers outlined it, slice by slice."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from heatproof.records import Array

CLOCKWISE = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
Pixel = tuple[int, int]


def enclosed(points: Array) -> Array:
    """The pixels (n, 2) that an edge map (m, 2) of rows and columns encloses, without those of the edge map.

    >>> enclosed(np.array([[0, 1], [1, 2], [2, 1], [1, 0]])).tolist()
    [[1, 1]]
    """
    points = points.astype(np.int64)
    low = points.min(axis=0)
    height, width = (points.max(axis=0) - low + 1).tolist()
    image = Image.new("L", (width, height))
    if len(points) > 1:
        ImageDraw.Draw(image).polygon([(x, y) for y, x in (points - low).tolist()], fill=1, outline=0)
    return np.asarray(np.argwhere(np.asarray(image)) + low)


def edge_maps(mask: Array) -> Iterator[Array]:
    """The edge maps (m, 2) of the connected parts of a mask (h, w), whose border must be False.

    Edge maps cannot represent holes, nor bays that close when the mask grows by one pixel: both are filled.
    """
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    while grown.any():
        chain = _traced({(row, column) for row, column in np.argwhere(grown).tolist()})
        yield chain
        grown[tuple(chain.T)] = False
        grown[tuple(enclosed(chain).T)] = False


def _traced(region: set[Pixel]) -> Array:
    """Trace the border around the first pixel of a region, clockwise (Moore neighbours)."""
    start = _step(min(region), 0, region)
    chain = [start[0]]
    pixel, heading = _step(*start, region)
    while (pixel, heading) != start:
        chain.append(pixel)
        pixel, heading = _step(pixel, heading, region)
    return np.array(chain)


def _step(pixel: Pixel, heading: int, region: set[Pixel]) -> tuple[Pixel, int]:
    """The next pixel of the border and the direction that leads to it; the search begins to the left of the heading."""
    left = heading // 2 * 2 + 6
    for turn in range(left, left + 8):
        down, right = CLOCKWISE[turn % 8]
        neighbour = (pixel[0] + down, pixel[1] + right)
        if neighbour in region:
            return neighbour, turn % 8
    return pixel, heading
