"""Preparations: they move image, annotations and field together onto a model's grid, by exact area."""

from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from ..component import Component, P, Params
from ..errors import DataError
from ..records import Array, Geometry, Sample, SpatialExtra
from .area import Grid, averaged, coverage
from .window import white_of

Side = Annotated[int, Field(ge=1, le=10_000)]
"""The pixels along one axis of a grid."""


LUMINANCE = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in the luminance (ITU-R BT.601), as in Pillow and OpenCV."""


class PreparationParams(Params):
    """Optional last steps: give the image ``channels`` channels; then compute (image - mean) / std of each.

    A grey image is repeated, and three equal channels become 1. Other colours become 1 channel only with ``luminance``,
    their weighted sum by ITU-R BT.601; with the number 1 they are refused.
    """

    channels: Annotated[int, Field(ge=1, le=1000)] | Literal["luminance"] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[PositiveFloat, ...] | None = None

    @property
    def width(self) -> int | None:
        """The number of channels of prepared images; None if they keep those of the image."""
        return 1 if self.channels == "luminance" else self.channels


class Preparation(Component[P]):
    """Puts a sample on a model's grid: image float32, annotations by area, and field and geometry with them."""

    @abstractmethod
    def __call__(self, sample: Sample) -> Sample:
        """The sample on the grid."""
        raise NotImplementedError


class ResizeParams(PreparationParams):
    """The grid's ``size`` (one number for a square or cube), how the image fits it, and which value is ``white``.

    White is the largest value of the image's integer ``type``, or the image's ``maximum`` as in Watanabe et al. 2022.
    """

    size: Side | tuple[Side, ...]
    fit: Literal["stretch", "pad"] = "stretch"
    white: Literal["type", "maximum"] = "type"


class Resize(Preparation[ResizeParams]):
    """Resizes the whole image to a grid of fixed size, divides it by white, and normalises it.

    ``stretch`` fills the grid; ``pad`` keeps the aspect ratio and centres the image on black. Every value is the mean
    over its cell, also when the image is enlarged. Spatial extras move with the image; others do not change.
    """

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the grid: image (c, *size); the field is where the image covers at least half of the cell."""
        grid = self._grid(sample)
        image = averaged(sample.image, grid) / self._white(sample)
        return placed_on(sample, grid, normalised(sample, image, self.params), grid.share >= 0.5)

    def _white(self, sample: Sample) -> float:
        """The value that becomes 1; not 0 for a black image, which stays black."""
        if self.params.white == "maximum" and sample.image.dtype.kind == "f":
            return float(sample.image.max()) or 1.0
        largest = white_value(sample)
        return largest if self.params.white == "type" else float(sample.image.max()) or largest

    def _grid(self, sample: Sample) -> Grid:
        size = self.params.size
        axes = len(sample.space)
        if isinstance(size, int):
            size = (size,) * axes
        if len(size) != axes:
            raise DataError(
                f"{source_of(sample)} has {axes} spatial axes, but size is {size}; give images of {len(size)} axes, or "
                "as size one number, or one per axis."
            )
        step = tuple(native / cells for native, cells in zip(sample.space, size))
        return Grid(sample.space, size, step if self.params.fit == "stretch" else (max(step),) * axes)


class Unchanged(Preparation[Params]):
    """Leaves images as they are, because they are prepared already: their values are the network's input.

    They become float32, and all of them must have one size.
    """

    def __call__(self, sample: Sample) -> Sample:
        """The sample on its own grid."""
        grid = Grid(sample.space, sample.space, (1.0,) * len(sample.space))
        return placed_on(sample, grid, sample.image, np.ones(sample.space, bool))


def placed_on(sample: Sample, grid: Grid, image: Array, field: Array) -> Sample:
    """The sample with this image, its annotations, field, geometry and spatial extras moved to the grid."""
    if sample.field is not None:
        field = field & (coverage(sample.field, grid.edges) >= 0.5 * grid.share)
    geometry = sample.geometry or Geometry.identity(sample.space)
    return replace(
        sample,
        image=np.ascontiguousarray(image, dtype=np.float32),
        annotations=tuple(
            replace(annotation, values=np.ascontiguousarray(coverage(annotation.values, grid.edges)))
            for annotation in sample.annotations
        ),
        geometry=geometry.through(grid.affine),
        field=field,
        extras={name: _moved(value, sample.space, grid) for name, value in sample.extras.items()},
    )


def _moved(value: Any, space: tuple[int, ...], grid: Grid) -> Any:
    """An extra on the grid, if it is an array with ``space`` as last axes or a ``SpatialExtra`` of that space."""
    if isinstance(value, SpatialExtra) and value.space == space:
        return value.on(grid.edges)
    if isinstance(value, np.ndarray) and value.shape[-len(space) :] == space:
        return np.ascontiguousarray(coverage(value, grid.edges))
    return value


def normalised(sample: Sample, image: Array, params: PreparationParams) -> Array:
    """The image (c, *space) after the optional last steps; raises ``DataError`` if they do not fit its channels."""
    image = with_channels(sample, image, params.channels or len(image))
    mean = params.mean or (0.0,)
    std = params.std or (1.0,)
    if not {len(mean), len(std)} <= {1, len(image)}:
        raise DataError(
            f"channels of {source_of(sample)}: {len(image)}, values of mean: {len(mean)}, of std: {len(std)}; "
            "give one number for all channels, or one per channel."
        )
    per_channel = (-1, *[1] * (image.ndim - 1))
    return np.asarray((image - np.reshape(mean, per_channel)) / np.reshape(std, per_channel))


def with_channels(sample: Sample, image: Array, channels: int | Literal["luminance"]) -> Array:
    """The image with this number of channels, or as its luminance."""
    if channels == "luminance":
        if len(image) == len(LUMINANCE):
            return np.tensordot(np.asarray(LUMINANCE, dtype=image.dtype), image, axes=1)[None]
        channels = 1
    if len(image) == channels:
        return image
    if len(image) == 1:
        return np.repeat(image, channels, axis=0)
    if channels == 1 and all(np.array_equal(other, sample.image[0]) for other in sample.image[1:]):
        return image[:1]
    advice = ""
    if channels == 1 and len(image) == len(LUMINANCE):
        advice = ", or set channels of the preparation to luminance, since they are not equal"
    raise DataError(f"{source_of(sample)} has {len(image)} channels, but channels is {channels}; convert it{advice}.")


def white_value(sample: Sample) -> float:
    """The value of white: the largest of the integer type, 1 for floats."""
    image = sample.image
    white = white_of(image)
    if white is None:
        raise DataError(
            f"{source_of(sample)} has values of type {image.dtype} from {image.min():g} to {image.max():g}; give "
            "unsigned integers, or floats in [0, 1], such as by the setting window of the dataset."
        )
    return white


def source_of(sample: Sample) -> str:
    """The file that a sample was read from, or its id, for messages."""
    return (sample.geometry and sample.geometry.source) or sample.id
