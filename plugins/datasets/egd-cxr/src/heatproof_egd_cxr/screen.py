"""The screen of the recordings: it maps gaze on the screen to points of the image, and back."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from heatproof.records import Array

SIZE = (1080, 1920)
"""Rows and columns of the screen."""


@dataclass(frozen=True)
class Screen:
    """The grey borders above, below, left and right of an image on the screen, in pixels of the screen."""

    top: float
    bottom: float
    left: float
    right: float

    @classmethod
    def fitting(cls, shape: tuple[int, ...]) -> Self:
        """The borders of an image (h, w) that is as large as the screen allows, and centred."""
        height, width = shape
        scale = min(SIZE[0] / height, SIZE[1] / width)
        top = (SIZE[0] - round(height * scale)) // 2
        left = (SIZE[1] - round(width * scale)) // 2
        return cls(top, top, left, left)

    @property
    def extent(self) -> tuple[float, float]:
        """Rows and columns of the screen that the image fills."""
        return SIZE[0] - self.top - self.bottom, SIZE[1] - self.left - self.right

    def meets(self, gaze: Array) -> Array:
        """Whether gaze (n, 2), in shares of the screen's width and height, lies on the image (n,); NaN does not."""
        rows = gaze[:, 1] * SIZE[0] - self.top
        columns = gaze[:, 0] * SIZE[1] - self.left
        height, width = self.extent
        return np.asarray((rows > 0) & (rows < height) & (columns > 0) & (columns < width))

    def points(self, gaze: Array, shape: tuple[int, ...]) -> Array:
        """Rows and columns (n, 2) of gaze in an image (h, w), continuous.

        Odd sizes of the image are rounded up, as they were for the display.
        """
        offsets = gaze[:, ::-1] * SIZE - (self.top, self.left)
        return np.asarray(offsets * self._scale(shape))

    def gaze(self, points: Array, shape: tuple[int, ...]) -> Array:
        """Gaze (n, 2) on rows and columns (n, 2) of an image (h, w): the inverse of ``points``."""
        pixels = points / self._scale(shape) + (self.top, self.left)
        return np.asarray((pixels / SIZE)[:, ::-1])

    def _scale(self, shape: tuple[int, ...]) -> Array:
        return np.array([length + length % 2 for length in shape]) / self.extent
