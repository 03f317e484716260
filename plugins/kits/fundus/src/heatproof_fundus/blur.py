"""Blurs images with Gaussians."""

from functools import lru_cache

import numpy as np

from heatproof.imaging.area import Block, banded
from heatproof.records import Array


def blurred(image: Array, sigma: float) -> Array:
    """Blur an image (c, h, w) with a Gaussian cut off at four sigma; the image is mirrored at its border pixels."""
    for axis, length in enumerate(image.shape[1:], start=1):
        image = banded(image, axis, length, _blur(length, sigma))
    return image


@lru_cache(maxsize=64)
def _blur(length: int, sigma: float) -> list[Block]:
    """The matrix of the blur along one axis, in blocks of as many rows as the blur reaches."""
    margin = reach(sigma)
    kernel = np.exp(-0.5 * (np.arange(-margin, margin + 1) / sigma) ** 2)
    sources = np.lib.stride_tricks.sliding_window_view(
        np.pad(np.arange(length), margin, mode="reflect"), 2 * margin + 1
    )
    matrix = np.zeros((length, length), dtype=np.float64)
    np.add.at(matrix, (np.arange(length)[:, None], sources), kernel / kernel.sum())
    blocks = []
    for start in range(0, length, margin):
        rows = slice(start, min(start + margin, length))
        columns = slice(max(0, rows.start - margin), rows.stop + margin)
        blocks.append((rows, columns, matrix[rows, columns].astype(np.float32)))
    return blocks


def reach(sigma: float) -> int:
    """The number of pixels that a blur reaches to each side."""
    return max(1, int(4 * sigma + 0.5))
