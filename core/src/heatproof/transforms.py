"""Moves image, annotations and field together onto a model's grid, by exact area."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from .area import Grid, averaged, blurred, coverage, reach
from .component import Component, Params
from .errors import DataError
from .gaze import Frames
from .records import Annotation, Array, Geometry, Sample

GREY = 128.0


class PreparationParams(Params):
    """The optional last steps: grey is repeated to so many ``channels``, then by channel (image - mean) / std."""

    channels: PositiveInt | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[PositiveFloat, ...] | None = None


class Preparation(Component):
    """Puts a sample on a model's grid: image float32, annotations by area, field and geometry along with them."""

    @abstractmethod
    def __call__(self, sample: Sample) -> Sample:
        """The sample on the grid."""
        raise NotImplementedError


class ResizeParams(PreparationParams):
    """The grid's size (one number for a square or cube), what happens to another aspect ratio, and what is white.

    White is the integer type's largest value, or the picture's own ``maximum``, as paper 004 has it.
    """

    size: PositiveInt | tuple[PositiveInt, ...]
    fit: Literal["stretch", "pad"] = "stretch"
    white: Literal["type", "maximum"] = "type"


class Resize(Preparation):
    """The whole picture on a grid of fixed size, as [0, 1] by the value that is white, then normalised.

    ``stretch`` fills the grid, ``pad`` keeps the aspect ratio and centres the picture on black. Every value is the mean
    over the cell, also when the picture grows. Spatial extras move along; others stay as they are.
    """

    Params = ResizeParams
    params: ResizeParams

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the grid: image (c, *size), field where the picture covers at least half of the cell."""
        grid = self._grid(sample)
        image = averaged(sample.image, grid) / self._white(sample)
        return _placed(sample, grid, _normalised(sample, image, self.params), grid.share >= 0.5)

    def _white(self, sample: Sample) -> float:
        """The value that becomes 1; a picture that is black everywhere stays so."""
        largest = _largest(sample)
        return largest if self.params.white == "type" else float(sample.image.max()) or largest

    def _grid(self, sample: Sample) -> Grid:
        size = self.params.size
        size = (size,) * len(sample.space) if isinstance(size, int) else size
        if len(size) != len(sample.space):
            raise DataError(
                f"{_source(sample)} has {len(sample.space)} spatial axes, resize was given size {size}; "
                "give one number, or one per axis."
            )
        step = tuple(native / cells for native, cells in zip(sample.space, size))
        return Grid(sample.space, size, step if self.params.fit == "stretch" else (max(step),) * len(step))


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


class Fundus(Preparation):
    """Fundus photographs of one radius, local average colour subtracted (B. Graham, Kaggle 2015).

    The radius r is half the count of pixels of the middle row that are brighter than a tenth of the row's mean. The
    picture is zoomed by scale / r; with G the Gaussian blur of sigma scale / 30 it becomes 4 I - 4 G(I) + 128, clamped
    to 0 … 255, and 128 outside the disc. So did Van Craenendonck et al. 2020 ("Systematic comparison of heatmapping
    techniques in deep learning in the context of diabetic retinopathy lesion detection") before rating heatmaps.

    The result is (value - 128) / 128, so that grey, the natural baseline, is 0; the normalisation follows.
    ``extras["outside_field"]`` holds for each finding with marks the share of their mass that lies outside the field;
    they are kept unless ``drop_outside_field``. Other extras move or stay as in ``Resize``.
    """

    Params = FundusParams
    params: FundusParams

    @property
    def scale(self) -> float:
        """The radius of the field of view on the canvas, in pixels."""
        return self.params.scale or self.params.size / 2

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the canvas; raises ``DataError`` when no field of view is found in its middle row."""
        grid = self._grid(sample)
        disc = _disc(self.params.size, self.params.field_share * self.scale)
        image = np.where(disc, (self._canvas(sample, grid) - GREY) / GREY, 0).astype(np.float32)
        image = _normalised(sample, image, self.params)
        placed = _placed(sample, grid, image, disc & (grid.share >= 0.5))
        inside = tuple(replace(mark, values=mark.values * placed.field) for mark in placed.annotations)
        return replace(
            placed,
            annotations=inside if self.params.drop_outside_field else placed.annotations,
            extras={**placed.extras, "outside_field": _outside(sample, inside, float(np.prod(grid.step)))},
        )

    def _grid(self, sample: Sample) -> Grid:
        if len(sample.space) != 2:
            raise DataError(f"{_source(sample)} has {len(sample.space)} spatial axes; fundus photographs have two.")
        row = sample.image[:, sample.space[0] // 2].sum(axis=0, dtype=np.float64)
        step = np.count_nonzero(row > row.mean() / 10) / 2 / self.scale
        if not 0 < step <= min(sample.space):
            raise DataError(
                f"{_source(sample)} ({sample.space[0]} × {sample.space[1]} pixels) shows no field of view: its middle "
                "row is dark, or it is a narrow strip; leave it out."
            )
        return Grid(sample.space, (self.params.size,) * 2, (step, step))

    def _canvas(self, sample: Sample, grid: Grid) -> Array:
        """The picture (c, size, size) in 0 … 255, grey where there is none."""
        sigma = self.scale / 30
        margin = reach(sigma)
        # Blurred on its own pixels only: black padding would shine back into the field along the picture's border.
        wide = replace(grid, size=tuple(size + 2 * margin for size in grid.size))
        rows, columns = (_covered(edges, native) for edges, native in zip(wide.edges, wide.native))
        picture = averaged(sample.image, wide)[:, rows, columns] * np.float32(255 / _largest(sample))
        if self.params.graham:
            picture = np.clip(4 * picture - 4 * blurred(picture, sigma) + GREY, 0, 255)
        canvas = np.full((len(picture), *wide.size), GREY, dtype=np.float32)
        canvas[:, rows, columns] = picture
        return canvas[:, margin:-margin, margin:-margin]


def _covered(edges: Array, native: int) -> slice:
    """The cells of which the picture covers at least half."""
    centres = (edges[:-1] + edges[1:]) / 2
    return slice(int(np.searchsorted(centres, 0)), int(np.searchsorted(centres, native, side="right")))


def _disc(size: int, radius: float) -> Array:
    """The pixels (size, size) whose centres lie within ``radius`` of the middle."""
    offsets = np.arange(size) + 0.5 - size / 2
    return np.asarray(offsets[:, None] ** 2 + offsets**2 <= radius**2)


def _placed(sample: Sample, grid: Grid, image: Array, field: Array) -> Sample:
    """The sample with this image, its annotations, field, geometry and spatial extras moved to the grid."""
    if sample.field is not None:
        field = field & (coverage(sample.field, grid.edges) >= 0.5 * grid.share)
    geometry = sample.geometry or Geometry.identity(sample.space)
    return replace(
        sample,
        image=np.ascontiguousarray(image, dtype=np.float32),
        annotations=tuple(
            replace(mark, values=np.ascontiguousarray(coverage(mark.values, grid.edges))) for mark in sample.annotations
        ),
        geometry=geometry.through(grid.affine),
        field=field,
        extras={name: _moved(value, sample.space, grid) for name, value in sample.extras.items()},
    )


def _moved(value: Any, space: tuple[int, ...], grid: Grid) -> Any:
    """An extra on the grid: arrays whose last axes are ``space`` and ``Frames`` of it; all else as it is."""
    if isinstance(value, Frames) and value.space == space:
        return value.on(grid.edges)
    if isinstance(value, np.ndarray) and value.shape[-len(space) :] == space:
        return np.ascontiguousarray(coverage(value, grid.edges))
    return value


def _coloured(sample: Sample, image: Array, channels: int) -> Array:
    """The image with the channels that are asked for, where it is grey or has them."""
    if len(image) not in (1, channels):
        raise DataError(f"{_source(sample)} has {len(image)} channels, {channels} are asked for; convert it.")
    return image if len(image) == channels else np.repeat(image, channels, axis=0)


def _normalised(sample: Sample, image: Array, params: PreparationParams) -> Array:
    image = _coloured(sample, image, params.channels or len(image))
    mean, std = params.mean or (0.0,), params.std or (1.0,)
    if not {len(mean), len(std)} <= {1, len(image)}:
        raise DataError(
            f"{_source(sample)} has {len(image)} channels, mean has {len(mean)} values and std {len(std)}; "
            "give one number for all channels, or one each."
        )
    per_channel = (-1, *[1] * (image.ndim - 1))
    return np.asarray((image - np.reshape(mean, per_channel)) / np.reshape(std, per_channel))


def _largest(sample: Sample) -> float:
    """The value that stands for white: the integer type's largest, 1 for floats."""
    kind = sample.image.dtype
    if np.issubdtype(kind, np.unsignedinteger):
        return float(np.iinfo(kind).max)
    if np.issubdtype(kind, np.floating):
        return 1.0
    raise DataError(f"{_source(sample)} has values of type {kind}; give unsigned integers, or floats in [0, 1].")


def _outside(sample: Sample, inside: Sequence[Annotation], area: float) -> dict[str, float]:
    """For each finding with marks the share of their mass that is not ``inside``; a cell there has ``area`` pixels."""
    masses = {finding: _mass(sample.annotations, finding) for finding in sample.findings()}
    return {finding: max(0.0, 1 - _mass(inside, finding) * area / mass) for finding, mass in masses.items() if mass}


def _mass(annotations: Sequence[Annotation], finding: str) -> float:
    marks = [mark.values for mark in annotations if mark.finding == finding]
    # Counting takes a twentieth of the time of summing.
    return float(sum(np.count_nonzero(v) if v.dtype == bool else v.sum(dtype=np.float64) for v in marks))


def _source(sample: Sample) -> str:
    return sample.geometry.source if sample.geometry and sample.geometry.source else sample.id
