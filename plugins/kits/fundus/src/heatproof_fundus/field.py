"""Measures the field of view of a fundus photograph: a bright disc, which the image's border may cut."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from heatproof.records import Array, Sample

LINES = 128
"""Rows, and columns, on which the edge of the field is measured."""
BORDER = 0.01
"""An edge nearer to the border of the image than this share of its side is the border's, not the field's."""
FEWEST = 8
"""Fewer points of the edge than this tell no circle: the field fills the image."""
DEVIATION = 0.03
"""The largest median distance of the edge from a circle, as a share of its radius."""
ROUNDS = 20


@dataclass(frozen=True)
class Circle:
    """The centre (row, column) and the radius of a field in pixels; pixel i spans [i, i + 1).

    ``deviation`` is the median distance of the field's edge from the circle, as a share of the radius; infinite where
    the centre lies outside the image, or the radius is longer than its diagonal: the edge is straight.
    """

    centre: tuple[float, float]
    radius: float
    deviation: float = 0.0

    @property
    def round(self) -> bool:
        """Whether the edge of the field is a circle."""
        return self.deviation <= DEVIATION


def row_radius(sample: Sample) -> float:
    """Half the number of pixels of the middle row that are brighter than a tenth of the row's mean (Graham 2015)."""
    row = _middle_row(sample)
    return float(np.count_nonzero(row > row.mean() / 10) / 2)


def field_circle(sample: Sample) -> Circle | None:
    """Fit a circle to the edge of the field of view, or return None where the field has no edge in the image.

    The field is brighter than a tenth of the middle row's mean, or is the field that the dataset gives. Its edge are
    the first and the last of these pixels in 128 rows and 128 columns, without those on the border of the image, which
    cuts the field. The circle has the least squared algebraic distance (Kåsa 1976, "A circle fitting procedure and its
    error analysis") from the points that lie within three times their median distance from it: text, flares and
    vignetting count little.
    """
    points = np.concatenate([*_edges(sample, 0), *[edge[:, ::-1] for edge in _edges(sample, 1)]])
    if len(points) < FEWEST:
        return None
    near = np.ones(len(points), dtype=bool)
    for _ in range(ROUNDS):
        centre, radius = _circle(points[near])
        distances = np.abs(np.hypot(*(points - centre).T) - radius)
        nearer = distances <= max(1, 3 * np.median(distances))
        if (nearer == near).all():
            break
        near = nearer
    deviation = float(np.median(distances)) / max(radius, 1e-9)
    if (centre < 0).any() or (centre > sample.space).any() or radius > math.hypot(*sample.space):
        deviation = np.inf
    return Circle((float(centre[0]), float(centre[1])), radius, deviation)


def _circle(points: Array) -> tuple[Array, float]:
    """The centre (2,) and the radius of the circle with the least squared algebraic distance from points (n, 2)."""
    columns = np.column_stack([2 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(columns, (points**2).sum(axis=1), rcond=None)[0]
    centre = solution[:2]
    return centre, float(np.sqrt(max(0.0, solution[2] + centre @ centre)))


def _edges(sample: Sample, axis: int) -> Iterator[Array]:
    """The first and the last position (n, 2) of the field in lines along one axis: the line's index, then along it."""
    lines = np.unique(np.linspace(0, sample.space[axis] - 1, LINES).round().astype(int))
    bright = _bright(sample, lines, axis)
    lit = bright.any(axis=1)
    bright = bright[lit]
    length = bright.shape[1]
    for positions in (bright.argmax(axis=1), length - bright[:, ::-1].argmax(axis=1)):
        inside = (positions > BORDER * length) & (positions < (1 - BORDER) * length)
        yield np.column_stack([lines[lit] + 0.5, positions])[inside]


def _bright(sample: Sample, lines: Array, axis: int) -> Array:
    """The pixels (lines, length) bool of the field in some rows (axis 0) or columns (axis 1)."""
    if sample.field is not None:
        return np.moveaxis(sample.field, axis, 0)[lines]
    values = np.take(sample.image, lines, axis=axis + 1).sum(axis=0, dtype=np.float64)
    return np.asarray(np.moveaxis(values, axis, 0) > _middle_row(sample).mean() / 10)


def _middle_row(sample: Sample) -> Array:
    return np.asarray(sample.image[:, sample.space[0] // 2].sum(axis=0, dtype=np.float64))
