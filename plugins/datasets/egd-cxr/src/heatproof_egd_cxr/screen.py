"""Where an image lay on the screen of the recordings, and what of it a gaze met."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from heatproof.records import Array

SIZE = (1080, 1920)
"""Rows and columns of the screen."""


@dataclass(frozen=True)
class Screen:
    """The grey borders above, below, left and right of an image that fills the rest of the screen."""

    top: float
    bottom: float
    left: float
    right: float

    @classmethod
    def fitting(cls, shape: tuple[int, ...]) -> Self:
        """An image (h, w) as large as the screen allows, in the middle."""
        height, width = shape
        scale = min(SIZE[0] / height, SIZE[1] / width)
        across, down = (SIZE[1] - round(width * scale)) // 2, (SIZE[0] - round(height * scale)) // 2
        return cls(down, down, across, across)

    @property
    def extent(self) -> tuple[float, float]:
        """Rows and columns of the screen that the image fills."""
        return SIZE[0] - self.top - self.bottom, SIZE[1] - self.left - self.right

    def meets(self, gaze: Array) -> Array:
        """Whether gaze (n, 2), as shares of the screen's width and height, lies on the image (n,); NaN does not."""
        rows, columns = gaze[:, 1] * SIZE[0] - self.top, gaze[:, 0] * SIZE[1] - self.left
        height, width = self.extent
        return np.asarray((rows > 0) & (rows < height) & (columns > 0) & (columns < width))

    def points(self, gaze: Array, shape: tuple[int, ...]) -> Array:
        """Rows and columns (n, 2) of gaze in an image (h, w), continuous; its sizes count as even, as when shown."""
        places = gaze[:, ::-1] * SIZE - (self.top, self.left)
        return np.asarray(places * self._scale(shape))

    def gaze(self, points: Array, shape: tuple[int, ...]) -> Array:
        """The way back: gaze (n, 2) of rows and columns (n, 2)."""
        places = points / self._scale(shape) + (self.top, self.left)
        return np.asarray((places / SIZE)[:, ::-1])

    def _scale(self, shape: tuple[int, ...]) -> Array:
        return np.array([length + length % 2 for length in shape]) / self.extent
