"""Moves image, annotations and field together onto a model's grid, by exact area."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from ..component import Component, P, Params
from ..errors import DataError
from ..records import Array, Geometry, Sample, SpatialExtra
from .area import Grid, averaged, coverage


class PreparationParams(Params):
    """The optional last steps: grey is repeated to so many ``channels``, then by channel (image - mean) / std."""

    channels: PositiveInt | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[PositiveFloat, ...] | None = None


class Preparation(Component[P]):
    """Puts a sample on a model's grid: image float32, annotations by area, field and geometry along with them."""

    @abstractmethod
    def __call__(self, sample: Sample) -> Sample:
        """The sample on the grid."""
        raise NotImplementedError


class ResizeParams(PreparationParams):
    """The grid's size (one number for a square or cube), what happens to another aspect ratio, and what is white.

    White is the integer type's largest value, or the image's own ``maximum``, as Watanabe et al. 2022 have it.
    """

    size: PositiveInt | tuple[PositiveInt, ...]
    fit: Literal["stretch", "pad"] = "stretch"
    white: Literal["type", "maximum"] = "type"


class Resize(Preparation[ResizeParams]):
    """The whole image on a grid of fixed size, as [0, 1] by the value that is white, then normalised.

    ``stretch`` fills the grid, ``pad`` keeps the aspect ratio and centres the image on black. Every value is the mean
    over the cell, also when the image grows. Spatial extras move along; others stay as they are.
    """

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the grid: image (c, *size), field where the image covers at least half of the cell."""
        grid = self._grid(sample)
        image = averaged(sample.image, grid) / self._white(sample)
        return placed_on(sample, grid, normalised(sample, image, self.params), grid.share >= 0.5)

    def _white(self, sample: Sample) -> float:
        """The value that becomes 1; an image that is black everywhere stays so."""
        largest = white_value(sample)
        return largest if self.params.white == "type" else float(sample.image.max()) or largest

    def _grid(self, sample: Sample) -> Grid:
        size = self.params.size
        size = (size,) * len(sample.space) if isinstance(size, int) else size
        if len(size) != len(sample.space):
            raise DataError(
                f"{source_of(sample)} has {len(sample.space)} spatial axes, resize was given size {size}; "
                "give one number, or one per axis."
            )
        step = tuple(native / cells for native, cells in zip(sample.space, size))
        return Grid(sample.space, size, step if self.params.fit == "stretch" else (max(step),) * len(step))


def placed_on(sample: Sample, grid: Grid, image: Array, field: Array) -> Sample:
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
    """An extra on the grid: arrays whose last axes are ``space`` and ``SpatialExtra`` of it; all else as it is."""
    if isinstance(value, SpatialExtra) and value.space == space:
        return value.on(grid.edges)
    if isinstance(value, np.ndarray) and value.shape[-len(space) :] == space:
        return np.ascontiguousarray(coverage(value, grid.edges))
    return value


def normalised(sample: Sample, image: Array, params: PreparationParams) -> Array:
    """The image (c, *space) after the optional last steps; raises ``DataError`` where they do not suit its channels."""
    channels = params.channels or len(image)
    if len(image) not in (1, channels):
        raise DataError(f"{source_of(sample)} has {len(image)} channels, {channels} are asked for; convert it.")
    image = image if len(image) == channels else np.repeat(image, channels, axis=0)
    mean, std = params.mean or (0.0,), params.std or (1.0,)
    if not {len(mean), len(std)} <= {1, len(image)}:
        raise DataError(
            f"{source_of(sample)} has {len(image)} channels, mean has {len(mean)} values and std {len(std)}; "
            "give one number for all channels, or one each."
        )
    per_channel = (-1, *[1] * (image.ndim - 1))
    return np.asarray((image - np.reshape(mean, per_channel)) / np.reshape(std, per_channel))


def white_value(sample: Sample) -> float:
    """The value that stands for white: the integer type's largest, 1 for floats."""
    kind = sample.image.dtype
    if np.issubdtype(kind, np.unsignedinteger):
        return float(np.iinfo(kind).max)
    if np.issubdtype(kind, np.floating):
        return 1.0
    raise DataError(f"{source_of(sample)} has values of type {kind}; give unsigned integers, or floats in [0, 1].")


def source_of(sample: Sample) -> str:
    """The file that a sample was read from, or its id, for messages."""
    return sample.geometry.source if sample.geometry and sample.geometry.source else sample.id


def windowed(values: Array, low: float, high: float) -> Array:
    """Values as uint16: ``low`` and what is below it 0, ``high`` and what is above it 65535, linear in between."""
    shares = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    return np.rint(np.clip(shares, 0, 1) * 65535).astype(np.uint16)
