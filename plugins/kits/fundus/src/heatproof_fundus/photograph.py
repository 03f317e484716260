"""Puts fundus photographs on a canvas of one radius, local average colour subtracted."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from heatproof.errors import DataError
from heatproof.imaging.area import Grid, averaged
from heatproof.imaging.transforms import Preparation, PreparationParams, normalised, placed_on, source_of, white_value
from heatproof.records import Annotation, Array, Sample
from heatproof_fundus.blur import blurred, reach

GREY = 128.0


class FundusParams(PreparationParams):
    """The canvas and, on it, the radius ``scale`` of the field of view (default size / 2).

    ``graham`` subtracts the local average colour; beyond ``field_share`` × scale from the centre everything is grey;
    ``drop_outside_field`` also clears the annotations there.
    """

    size: PositiveInt = 448
    graham: bool = True
    scale: PositiveFloat | None = None
    field_share: float = Field(default=0.9, gt=0)
    drop_outside_field: bool = False


class Fundus(Preparation[FundusParams]):
    """Fundus photographs of one radius, local average colour subtracted (B. Graham, Kaggle 2015).

    The radius r is half the count of pixels of the middle row that are brighter than a tenth of the row's mean. The
    image is zoomed by scale / r; with G the Gaussian blur of sigma scale / 30 it becomes 4 I - 4 G(I) + 128, clamped
    to 0 … 255, and 128 outside the disc. So did Van Craenendonck et al. 2020 ("Systematic comparison of heatmapping
    techniques in deep learning in the context of diabetic retinopathy lesion detection") before rating heatmaps.

    The result is (value - 128) / 128, so that grey, the natural baseline, is 0; the normalisation follows.
    ``extras["outside_field"]`` holds for each finding with marks the share of their mass that lies outside the field;
    they are kept unless ``drop_outside_field``. Other extras move or stay as in ``Resize``.
    """

    @property
    def scale(self) -> float:
        """The radius of the field of view on the canvas, in pixels."""
        return self.params.scale or self.params.size / 2

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the canvas; raises ``DataError`` when no field of view is found in its middle row."""
        grid = self._grid(sample)
        disc = _disc(self.params.size, self.params.field_share * self.scale)
        image = np.where(disc, (self._canvas(sample, grid) - GREY) / GREY, 0).astype(np.float32)
        image = normalised(sample, image, self.params)
        placed = placed_on(sample, grid, image, disc & (grid.share >= 0.5))
        inside = tuple(replace(mark, values=mark.values * placed.field) for mark in placed.annotations)
        return replace(
            placed,
            annotations=inside if self.params.drop_outside_field else placed.annotations,
            extras={**placed.extras, "outside_field": _outside(sample, inside, float(np.prod(grid.step)))},
        )

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
        """The image (c, size, size) in 0 … 255, grey where there is none."""
        sigma = self.scale / 30
        margin = reach(sigma)
        # Blurred on its own pixels only: black padding would shine back into the field along the image's border.
        wide = replace(grid, size=tuple(size + 2 * margin for size in grid.size))
        rows, columns = (_covered(edges, native) for edges, native in zip(wide.edges, wide.native))
        disc = averaged(sample.image, wide)[:, rows, columns] * np.float32(255 / white_value(sample))
        if self.params.graham:
            disc = np.clip(4 * disc - 4 * blurred(disc, sigma) + GREY, 0, 255)
        canvas = np.full((len(disc), *wide.size), GREY, dtype=np.float32)
        canvas[:, rows, columns] = disc
        return canvas[:, margin:-margin, margin:-margin]


def _covered(edges: Array, native: int) -> slice:
    """The cells of which the image covers at least half."""
    centres = (edges[:-1] + edges[1:]) / 2
    return slice(int(np.searchsorted(centres, 0)), int(np.searchsorted(centres, native, side="right")))


def _disc(size: int, radius: float) -> Array:
    """The pixels (size, size) whose centres lie within ``radius`` of the middle."""
    offsets = np.arange(size) + 0.5 - size / 2
    return np.asarray(offsets[:, None] ** 2 + offsets**2 <= radius**2)


def _outside(sample: Sample, inside: Sequence[Annotation], area: float) -> dict[str, float]:
    """For each finding with marks the share of their mass that is not ``inside``; a cell there has ``area`` pixels."""
    masses = {finding: _mass(sample.annotations, finding) for finding in sample.findings()}
    return {finding: max(0.0, 1 - _mass(inside, finding) * area / mass) for finding, mass in masses.items() if mass}


def _mass(annotations: Sequence[Annotation], finding: str) -> float:
    marks = [mark.values for mark in annotations if mark.finding == finding]
    # Counting takes a twentieth of the time of summing.
    return float(sum(np.count_nonzero(v) if v.dtype == bool else v.sum(dtype=np.float64) for v in marks))
