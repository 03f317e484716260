"""Frame of a synthetic photograph: it maps the scene, measured in radii of the field of view, to pixels."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

ASPECT = 4288 / 2848
FIELD_RADIUS = 0.603


@dataclass(frozen=True)
class Frame:
    """The pixels of one photograph. The scene is drawn as a right eye, disc at positive x; a left eye is mirrored.

    Parameters
    ----------
    height: int
        Height in pixels; the width follows from the shape of the sensor.
    mirrored: bool
        Whether x runs from right to left, as in a left eye.
    shift: float
        Column of the centre of the field of view, as a share of the width.
    """

    height: int
    mirrored: bool
    shift: float

    @cached_property
    def width(self) -> int:
        """Width in pixels."""
        return round(self.height * ASPECT)

    @cached_property
    def radius(self) -> float:
        """Radius of the field of view in pixels: one unit of the scene."""
        return FIELD_RADIUS * self.height

    @property
    def sign(self) -> int:
        """-1 where x runs from right to left, else 1."""
        return -1 if self.mirrored else 1

    @cached_property
    def x(self) -> np.ndarray:
        """Scene abscissa of every column, shape (1, width)."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.shift * self.width) / self.radius
        return (self.sign * x).astype(np.float32)[None, :]

    @cached_property
    def y(self) -> np.ndarray:
        """Scene ordinate of every row, downwards, shape (height, 1)."""
        y = (np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2) / self.radius
        return y.astype(np.float32)[:, None]

    def at(self, height: int) -> "Frame":
        """The frame of the same scene at another height."""
        return Frame(height, self.mirrored, self.shift)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Positions (column, row) of scene points, in pixels from the upper left corner, shape (n, 2)."""
        columns = self.sign * points[:, 0] * self.radius + self.shift * self.width
        rows = points[:, 1] * self.radius + self.height / 2
        return np.stack([columns, rows], axis=1)

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Rows and columns within ``reach`` of a scene point; empty where the point lies outside the photograph."""
        column, row = self.pixels(np.array([[x, y]]))[0]
        reach = reach * self.radius + 1
        return (
            slice(*np.clip([int(row - reach), int(row + reach) + 1], 0, self.height)),
            slice(*np.clip([int(column - reach), int(column + reach) + 1], 0, self.width)),
        )
