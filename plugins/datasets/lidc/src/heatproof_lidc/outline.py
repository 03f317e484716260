"""Edge maps: the closed chains of pixels just outside a nodule, by which readers marked it slice by slice."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from heatproof.records import Array

CLOCKWISE = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
Place = tuple[int, int]


def enclosed(points: Array) -> Array:
    """The pixels (n, 2) that an edge map (m, 2) of rows and columns encloses; its own are outside of the nodule.

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
    """The edge maps (m, 2) of the parts of a mask (h, w) that leaves a pixel at the border.

    Holes are filled, and bays that are shut where every pixel grows by its four neighbours: a chain cannot tell them.
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


def _traced(region: set[Place]) -> Array:
    """The border of the part of a region that holds its first pixel, clockwise (Moore neighbours)."""
    first = _step(min(region), 0, region)
    chain, (place, heading) = [first[0]], _step(*first, region)
    while (place, heading) != first:
        chain.append(place)
        place, heading = _step(place, heading, region)
    return np.array(chain)


def _step(place: Place, heading: int, region: set[Place]) -> tuple[Place, int]:
    """The next pixel of the border and the direction that leads to it, seen from the last step's left."""
    left = heading // 2 * 2 + 6
    for turn in range(left, left + 8):
        down, right = CLOCKWISE[turn % 8]
        if (place[0] + down, place[1] + right) in region:
            return (place[0] + down, place[1] + right), turn % 8
    return place, heading
