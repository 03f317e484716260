"""Scales fundus photographs to one radius of the field of view and subtracts the local average colour."""

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from heatproof.errors import DataError
from heatproof.imaging.area import Grid, averaged
from heatproof.imaging.transforms import Preparation, PreparationParams, normalised, placed_on, source_of, white_value
from heatproof.records import Array, Sample
from heatproof_fundus.blur import blurred, reach
from heatproof_fundus.field import Circle, field_circle, row_radius

GREY = 128.0
Centre = Literal["field", "picture"]
"""What the canvas is centred on: the field of view, or the middle of the photograph as in published code."""


class FundusParams(PreparationParams):
    """The size of the canvas, and the radius ``scale`` of the field of view on it (default size / 2), in pixels.

    ``centre`` is what lies in the middle of the canvas: the centre of the field of view, or that of the photograph.
    ``graham`` subtracts the local average colour. Pixels farther than ``field_share`` × scale from the centre become
    grey, and ``drop_outside_field`` also clears the annotations there.
    """

    size: int = Field(default=448, ge=1, le=10_000)
    centre: Centre = "field"
    graham: bool = True
    scale: float | None = Field(default=None, gt=0, le=10_000)
    field_share: float = Field(default=0.9, gt=0, le=10)
    drop_outside_field: bool = False


class Fundus(Preparation[FundusParams]):
    """Scales fundus photographs to one radius and subtracts the local average colour (B. Graham, Kaggle 2015).

    The image I is zoomed by scale / r, where r is the radius of the field of view. With G the Gaussian blur of sigma
    scale / 30 it becomes 4 I - 4 G(I) + 128, clamped to 0 … 255, and 128 outside the disc. Van Craenendonck et al. 2020
    ("Systematic comparison of heatmapping techniques in deep learning in the context of diabetic retinopathy lesion
    detection") prepare photographs in this way.

    ``centre: field`` fits a circle to the edge of the field (``heatproof_fundus.field``): its radius is r, and the
    disc lies round its centre. A field without an edge fills the image. ``centre: picture`` is for parity with
    published code: r is half the number of pixels of the middle row that are brighter than a tenth of the row's mean,
    and the disc lies in the middle of the image. In photographs whose field is not centred, such as those of IDRiD, it
    cuts off a part of the field, and the lesions there.

    The result is (value - 128) / 128: grey, the natural baseline, is 0. The normalisation follows. Annotations outside
    the field stay unless ``drop_outside_field``. Extras move or stay as in ``Resize``.
    """

    revision = 2

    @property
    def scale(self) -> float:
        """The radius of the field of view on the canvas, in pixels."""
        return self.params.scale or self.params.size / 2

    def __call__(self, sample: Sample) -> Sample:
        """Put the sample on the canvas; raises ``DataError`` where its middle row shows no field of view."""
        grid = self._grid(sample)
        disc = _disc(self.params.size, self.params.field_share * self.scale)
        image = np.where(disc, (self._canvas(sample, grid) - GREY) / GREY, 0).astype(np.float32)
        image = normalised(sample, image, self.params)
        placed = placed_on(sample, grid, image, disc & (grid.share >= 0.5))
        if not self.params.drop_outside_field:
            return placed
        inside = (replace(annotation, values=annotation.values * placed.field) for annotation in placed.annotations)
        return replace(placed, annotations=tuple(inside))

    def _grid(self, sample: Sample) -> Grid:
        if len(sample.space) != 2:
            raise DataError(f"{source_of(sample)} has {len(sample.space)} spatial axes; fundus photographs have two.")
        circle = self._circle(sample)
        step = circle.radius / self.scale
        if not 0 < step <= min(sample.space):
            raise DataError(
                f"{source_of(sample)} ({sample.space[0]} × {sample.space[1]} pixels) shows no field of view: its "
                "middle row is dark, or it is a narrow strip; leave it out."
            )
        return Grid(sample.space, (self.params.size,) * 2, (step, step), circle.centre)

    def _circle(self, sample: Sample) -> Circle:
        """The circle that is put on the canvas; raises ``DataError`` for a field that is not round."""
        height, width = sample.space
        middle = Circle((height / 2, width / 2), row_radius(sample))
        if self.params.centre == "picture":
            return middle
        circle = field_circle(sample) or middle
        if not circle.round:
            raise DataError(
                f"{source_of(sample)} ({height} × {width} pixels) shows no round field of view: its edge "
                "is no circle; leave it out, or set centre: picture."
            )
        return circle

    def _canvas(self, sample: Sample, grid: Grid) -> Array:
        """Zoom the image to (c, size, size) in 0 … 255 and subtract its blur; grey outside the image."""
        sigma = self.scale / 30
        margin = reach(sigma)
        # Only the image's pixels are blurred: black padding would darken the blur along the image's border.
        wide = replace(grid, size=tuple(size + 2 * margin for size in grid.size))
        rows, columns = (_covered(edges, native) for edges, native in zip(wide.edges, wide.native))
        disc = averaged(sample.image, wide)[:, rows, columns] * np.float32(255 / white_value(sample))
        if self.params.graham:
            disc = np.clip(4 * disc - 4 * blurred(disc, sigma) + GREY, 0, 255)
        canvas = np.full((len(disc), *wide.size), GREY, dtype=np.float32)
        canvas[:, rows, columns] = disc
        return canvas[:, margin:-margin, margin:-margin]


def _covered(edges: Array, native: int) -> slice:
    """The cells that the image covers at least by half."""
    centres = (edges[:-1] + edges[1:]) / 2
    return slice(int(np.searchsorted(centres, 0)), int(np.searchsorted(centres, native, side="right")))


def _disc(size: int, radius: float) -> Array:
    """The pixels (size, size) whose centres lie within ``radius`` of the middle."""
    offsets = np.arange(size) + 0.5 - size / 2
    return np.asarray(offsets[:, None] ** 2 + offsets**2 <= radius**2)
