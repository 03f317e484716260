"""Scales fundus photographs to one radius of the field of view and subtracts the local average colour."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field

from heatproof.errors import DataError
from heatproof.imaging.area import Grid, averaged
from heatproof.imaging.transforms import Preparation, PreparationParams, normalised, placed_on, source_of, white_value
from heatproof.records import Annotation, Array, Sample
from heatproof_fundus.blur import blurred, reach

GREY = 128.0


class FundusParams(PreparationParams):
    """The size of the canvas, and the radius ``scale`` of the field of view on it (default size / 2), in pixels.

    ``graham`` subtracts the local average colour. Pixels farther than ``field_share`` × scale from the centre become
    grey, and ``drop_outside_field`` also clears the annotations there.
    """

    size: int = Field(default=448, ge=1, le=10_000)
    graham: bool = True
    scale: float | None = Field(default=None, gt=0, le=10_000)
    field_share: float = Field(default=0.9, gt=0, le=10)
    drop_outside_field: bool = False


class Fundus(Preparation[FundusParams]):
    """Scales fundus photographs to one radius and subtracts the local average colour (B. Graham, Kaggle 2015).

    The radius r is half the number of pixels of the middle row that are brighter than a tenth of the row's mean. The
    image I is zoomed by scale / r. With G the Gaussian blur of sigma scale / 30 it becomes 4 I - 4 G(I) + 128, clamped
    to 0 … 255, and 128 outside the disc. Van Craenendonck et al. 2020 ("Systematic comparison of heatmapping techniques
    in deep learning in the context of diabetic retinopathy lesion detection") prepare photographs in this way.

    The result is (value - 128) / 128: grey, the natural baseline, is 0. The normalisation follows.
    ``extras["outside_field"]`` holds for each annotated finding the share of its mass outside the field of view; that
    mass stays unless ``drop_outside_field``. Other extras move or stay as in ``Resize``.
    """

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
        inside = tuple(
            replace(annotation, values=annotation.values * placed.field) for annotation in placed.annotations
        )
        outside = _outside_shares(sample, inside, float(np.prod(grid.step)))
        placed = replace(placed, extras={**placed.extras, "outside_field": outside})
        if self.params.drop_outside_field:
            return replace(placed, annotations=inside)
        return placed

    def _grid(self, sample: Sample) -> Grid:
        if len(sample.space) != 2:
            raise DataError(f"{source_of(sample)} has {len(sample.space)} spatial axes; fundus photographs have two.")
        row = sample.image[:, sample.space[0] // 2].sum(axis=0, dtype=np.float64)
        step = np.count_nonzero(row > row.mean() / 10) / 2 / self.scale
        if not 0 < step <= min(sample.space):
            raise DataError(
                f"{source_of(sample)} ({sample.space[0]} × {sample.space[1]} pixels) shows no field of view: its "
                "middle row is dark, or it is a narrow strip; leave it out."
            )
        return Grid(sample.space, (self.params.size,) * 2, (step, step))

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


def _outside_shares(sample: Sample, inside: Sequence[Annotation], area: float) -> dict[str, float]:
    """For each annotated finding the share of its mass outside the field; a cell of ``inside`` has ``area`` pixels."""
    masses = {finding: _mass(sample.annotations, finding) for finding in sample.findings()}
    return {finding: max(0.0, 1 - _mass(inside, finding) * area / mass) for finding, mass in masses.items() if mass}


def _mass(annotations: Sequence[Annotation], finding: str) -> float:
    mass = 0.0
    for annotation in annotations:
        if annotation.finding != finding:
            continue
        if annotation.values.dtype == bool:
            # Counting takes a twentieth of the time of summing.
            mass += np.count_nonzero(annotation.values)
        else:
            mass += float(annotation.values.sum(dtype=np.float64))
    return mass
