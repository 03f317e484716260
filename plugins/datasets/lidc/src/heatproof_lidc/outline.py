"""Converts LIDC's edge maps to masks and back: closed chains of pixels just outside a nodule, one per slice."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from heatproof.records import Array

CLOCKWISE = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""The steps (rows, columns) to the eight neighbours of a pixel, from the right one; a heading is an index in it."""
Pixel = tuple[int, int]


def enclosed(points: Array) -> Array:
    """The pixels (n, 2) inside an edge map (m, 2), without the edge map itself; both hold rows and columns.

    >>> enclosed(np.array([[0, 1], [1, 2], [2, 1], [1, 0]])).tolist()
    [[1, 1]]
    """
    points = points.astype(np.int64)
    corner = points.min(axis=0)
    height, width = (points.max(axis=0) - corner + 1).tolist()
    image = Image.new("L", (width, height))
    # Pillow needs two points, and a single pixel encloses nothing.
    if len(points) > 1:
        vertices = [(x, y) for y, x in (points - corner).tolist()]
        ImageDraw.Draw(image).polygon(vertices, fill=1, outline=0)
    return np.asarray(np.argwhere(np.asarray(image)) + corner)


def edge_maps(mask: Array) -> Iterator[Array]:
    """The edge map (m, 2) of each connected region of a mask (h, w); the pixels at the mask's border must be False.

    Edge maps cannot represent holes, nor bays that close when the mask grows by one pixel: reading fills them.
    """
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    while grown.any():
        chain = _trace({(row, column) for row, column in np.argwhere(grown).tolist()})
        yield chain
        grown[tuple(chain.T)] = False
        grown[tuple(enclosed(chain).T)] = False


def _trace(pixels: set[Pixel]) -> Array:
    """Trace the outer border of the region with the smallest (row, column), clockwise (Moore-neighbour tracing)."""
    start = _step(min(pixels), 0, pixels)
    pixel, heading = start
    chain = [pixel]
    pixel, heading = _step(pixel, heading, pixels)
    while (pixel, heading) != start:
        chain.append(pixel)
        pixel, heading = _step(pixel, heading, pixels)
    return np.array(chain)


def _step(pixel: Pixel, heading: int, pixels: set[Pixel]) -> tuple[Pixel, int]:
    """The next pixel of the border, and the heading that leads to it."""
    row, column = pixel
    # Search clockwise from the left: 90° left of a straight heading, 135° left of a diagonal one.
    left = heading // 2 * 2 - 2
    for turn in range(8):
        direction = (left + turn) % 8
        down, right = CLOCKWISE[direction]
        neighbour = (row + down, column + right)
        if neighbour in pixels:
            return neighbour, direction
    return pixel, heading
