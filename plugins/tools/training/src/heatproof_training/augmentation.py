"""Augmentation: random changes of a prepared sample; annotations, field, geometry and extras move with the image."""

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.imaging.area import Grid, averaged
from heatproof.imaging.transforms import placed_on
from heatproof.records import Array, Geometry, Sample, SpatialExtra

Factor = Annotated[float, Field(gt=0, le=100)]
AXES: dict[str, tuple[int, ...]] = {"none": (), "horizontal": (-1,), "vertical": (-2,), "both": (-2, -1)}
"""The axes, counted from the last, that a setting of ``flips`` may mirror."""


class AugmentationSettings(Params):
    """Random changes of each training image, drawn from the seed, the epoch and the id of the sample.

    ``flips`` mirrors with probability 1/2 along an axis; ``quarter_turns`` turns square images by 0, 90, 180 or 270
    degrees; ``crop`` enlarges a window whose sides are up to this share shorter than those of the image; both exact:
    turned pixels are not resampled, and a window is resampled by area as in every preparation. ``brightness`` adds up
    to this many standard deviations of the image; ``contrast`` multiplies it by 1 ± this share, or by a factor between
    two numbers, drawn evenly on a logarithmic scale; ``gain`` multiplies each channel by 1 ± this share; ``noise`` adds
    normal noise of this many standard deviations.
    """

    flips: Literal["none", "horizontal", "vertical", "both"] = "none"
    quarter_turns: bool = False
    crop: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    brightness: Annotated[float, Field(ge=0, le=10)] = 0.0
    contrast: Annotated[float, Field(ge=0, lt=1)] | tuple[Factor, Factor] = 0.0
    gain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    noise: Annotated[float, Field(ge=0, le=10)] = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if isinstance(self.contrast, tuple) and self.contrast[0] > self.contrast[1]:
            raise ValueError("contrast: the first factor is larger than the second; give the smaller one first")
        return self

    @property
    def recolours(self) -> bool:
        """Whether the values of the image change."""
        return bool(self.brightness or self.contrast or self.gain or self.noise)

    def factor(self, rng: np.random.Generator) -> float:
        """Draw the factor of the contrast."""
        if isinstance(self.contrast, tuple):
            return float(np.exp(rng.uniform(*np.log(self.contrast))))
        return 1 + self.contrast * rng.uniform(-1, 1)


def augmented(sample: Sample, settings: AugmentationSettings, rng: np.random.Generator) -> Sample:
    """Return a prepared sample with random changes; raises ``DataError`` where a part of it cannot be moved."""
    axes = tuple(axis for axis in AXES[settings.flips] if rng.random() < 0.5)
    turns = int(rng.integers(4)) if settings.quarter_turns else 0
    if axes or turns:
        sample = turned(sample, axes, turns)
    if settings.crop:
        sample = cropped(sample, settings.crop, rng)
    if settings.recolours:
        sample = replace(sample, image=_recoloured(sample, settings, rng))
    return sample


def turned(sample: Sample, axes: tuple[int, ...], turns: int) -> Sample:
    """Mirror a sample along axes, counted from the last, then turn it by quarter turns in the last two axes.

    Raises ``DataError`` for an image that is not square, and for an extra that cannot be moved.
    """
    height, width = sample.space[-2:]
    if turns % 2 and height != width:
        raise DataError(
            f"quarter_turns need square images; the prepared image of {sample.id} has {height} × {width} pixels. "
            "Use flips, or a model with square images."
        )
    geometry = (sample.geometry or Geometry.identity(sample.space)).through(_affine(sample.space, axes, turns))
    field = None if sample.field is None else _moved(sample.field, axes, turns)
    return replace(
        sample,
        image=_moved(sample.image, axes, turns),
        annotations=tuple(replace(entry, values=_moved(entry.values, axes, turns)) for entry in sample.annotations),
        field=field,
        geometry=geometry,
        extras={name: _moved_extra(sample, name, axes, turns) for name in sample.extras},
    )


def cropped(sample: Sample, crop: float, rng: np.random.Generator) -> Sample:
    """Enlarge a random window of a sample to the sample's own size, by area.

    All sides of the window are equally shortened, so that nothing is distorted.
    """
    side = 1 - crop * rng.random()
    centre = tuple(length * (side / 2 + (1 - side) * rng.random()) for length in sample.space)
    grid = Grid(sample.space, sample.space, (side,) * len(sample.space), centre)
    return placed_on(sample, grid, averaged(sample.image, grid), np.ones(sample.space, bool))


def _recoloured(sample: Sample, settings: AugmentationSettings, rng: np.random.Generator) -> Array:
    """The image with other brightness, contrast and colours, and with noise; padding outside the field is unchanged."""
    image = sample.image
    spread = float(image.std())
    factor: float | Array = settings.factor(rng)
    offset = settings.brightness * spread * rng.uniform(-1, 1)
    centre = float(image.mean())
    if settings.gain:
        channels = (len(image), *(1,) * len(sample.space))
        factor = factor * (1 + settings.gain * rng.uniform(-1, 1, channels))
    changed = (image - centre) * factor + centre + offset
    if settings.noise:
        changed = changed + settings.noise * spread * rng.standard_normal(image.shape)
    if sample.field is not None:
        changed = np.where(sample.field, changed, image)
    return changed.astype(image.dtype)


def _moved(values: Array, axes: tuple[int, ...], turns: int) -> Array:
    return np.ascontiguousarray(np.rot90(np.flip(values, axes), turns, (-2, -1)))


def _moved_extra(sample: Sample, name: str, axes: tuple[int, ...], turns: int) -> Any:
    """An extra that moves with the image; raises ``DataError`` for a kind that cannot be mirrored."""
    value = sample.extras[name]
    if isinstance(value, SpatialExtra) and value.space == sample.space:
        return value.turned(axes, turns)
    if isinstance(value, np.ndarray) and value.shape[-len(sample.space) :] == sample.space:
        return _moved(value, axes, turns)
    return value


def _affine(space: tuple[int, ...], axes: tuple[int, ...], turns: int) -> Array:
    """The matrix from continuous indices of the turned grid to those of the grid before."""
    count = len(space)
    matrix = np.eye(count + 1)
    for axis in axes:
        matrix[count + axis, [count + axis, -1]] = -1, space[axis]
    for turn in range(turns):
        height, width = space[-2:]
        if turn % 2:
            height, width = width, height
        quarter = np.eye(count + 1)
        # np.rot90: the turned pixel (i, j) is the pixel (j, width - 1 - i).
        quarter[count - 2 : count] = 0
        quarter[count - 2, count - 1] = 1
        quarter[count - 1, [count - 2, -1]] = -1, width
        matrix = matrix @ quarter
    return matrix
