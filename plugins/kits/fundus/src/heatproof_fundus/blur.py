"""Gaussian blurs of images."""

from functools import lru_cache

import numpy as np

from heatproof.imaging.area import Block, banded
from heatproof.records import Array


def blurred(image: Array, sigma: float) -> Array:
    """The Gaussian blur of an image (c, h, w) over four sigma, mirrored at the border without repeating it."""
    for axis, length in enumerate(image.shape[1:], start=1):
        image = banded(image, axis, length, _blur(length, sigma))
    return image


@lru_cache(maxsize=64)
def _blur(length: int, sigma: float) -> list[Block]:
    """The blur along one axis, as many pixels at a time as it looks far."""
    margin = reach(sigma)
    kernel = np.exp(-0.5 * (np.arange(-margin, margin + 1) / sigma) ** 2)
    sources = np.lib.stride_tricks.sliding_window_view(
        np.pad(np.arange(length), margin, mode="reflect"), 2 * margin + 1
    )
    matrix = np.zeros((length, length), dtype=np.float64)
    np.add.at(matrix, (np.arange(length)[:, None], sources), kernel / kernel.sum())
    cells = [slice(start, min(start + margin, length)) for start in range(0, length, margin)]
    near = [slice(max(0, part.start - margin), part.stop + margin) for part in cells]
    return [(part, around, matrix[part, around].astype(np.float32)) for part, around in zip(cells, near)]


def reach(sigma: float) -> int:
    """How many pixels to each side a blur looks."""
    return max(1, int(4 * sigma + 0.5))
