"""The preparation of a transform: its image pixel by pixel, and annotations, field and geometry with it."""

from typing import Annotated, TypeAlias

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from heatproof.component import Params
from heatproof.errors import DataError
from heatproof.imaging.area import Grid
from heatproof.imaging.transforms import Preparation, placed_on, source_of, white_value, with_channels
from heatproof.records import Array, Sample
from heatproof_transforms.geometry_steps import Crop, Fit, Pad, Resize
from heatproof_transforms.step import FULL, Pixels, Space, space_of
from heatproof_transforms.value_steps import Colour, Grey, Normalize, Scale, ToPillow, ToTensor, Values

AnyStep: TypeAlias = Annotated[
    Resize | Fit | Crop | Pad | Grey | Colour | ToTensor | ToPillow | Scale | Values | Normalize,
    Field(discriminator="kind"),
]
"""A step; ``kind`` says which."""

PILLOW_ONLY = ("box", "hamming", "lanczos")
"""Interpolations that torch does not have for floats."""


class TransformParams(Params):
    """The ``steps`` of a transform in order, and the ``channels`` of the images that they get.

    A grey image is repeated to get ``channels``, and three equal channels become 1; without it, images keep theirs.
    """

    steps: tuple[AnyStep, ...]
    channels: Annotated[int, Field(ge=1, le=1000)] | None = None

    @property
    def size(self) -> Space | None:
        """The height and width of prepared images; None if they depend on the image."""
        size = None
        for step in self.steps:
            size = step.space(size)
        return size

    @property
    def width(self) -> int | None:
        """The number of channels of prepared images; None if they keep those of the image."""
        widths = [self.channels]
        for step in self.steps:
            if isinstance(step, Grey):
                widths.append(step.channels)
            elif isinstance(step, Colour):
                widths.append(3)
        return widths[-1]

    @property
    def on_pillow(self) -> bool:
        """Whether the first step gets Pillow's image: the first conversion is one from it or to it."""
        conversions = (step for step in self.steps if isinstance(step, (ToTensor, ToPillow, Scale, Values)))
        return isinstance(next(conversions, None), (ToTensor, ToPillow))


class TransformPreparation(Preparation[TransformParams]):
    """Prepares an image of 8 bits exactly as the transform does, and moves annotations by the same geometry.

    If a step converts Pillow's images to tensors, the steps before it work on Pillow's image, else on tensors. Images
    of more bits and floats, which Pillow cannot hold, go through the steps as float32 with white at 255. Annotations
    move from the native image to the grid at once, by exact area.
    """

    def __call__(self, sample: Sample) -> Sample:
        """Put the sample on the grid: image (c, h, w) float32; the field is where the image covers half of a cell.

        Raises ``DataError`` for volumes, and for channels, values or an interpolation that the steps cannot take.
        """
        image = self._start(sample)
        wide = sample.image.dtype != np.uint8
        start = np.zeros(2)
        scale = np.ones(2)
        for step in self.params.steps:
            before = space_of(image)
            if wide:
                image = step.apply_wide(torch.as_tensor(image))
            else:
                image = step.apply(image)
            wide = wide and not isinstance(step, (Scale, Values))
            start += scale * step.start(before)
            scale *= step.scale(before, space_of(image))
        size = space_of(image)
        grid = Grid(sample.space, size, tuple(scale.tolist()), tuple((start + scale * size / 2).tolist()))
        return placed_on(sample, grid, np.asarray(image, dtype=np.float32), grid.share >= 0.5)

    def _start(self, sample: Sample) -> Pixels:
        """The image of a sample as the first step gets it."""
        if len(sample.space) != 2:
            raise DataError(f"{source_of(sample)} has {len(sample.space)} spatial axes; a transform prepares images.")
        values = with_channels(sample, sample.image, self.params.channels or len(sample.image))
        if any(step.kind == "grey" for step in self.params.steps) and len(values) not in (1, 3):
            raise DataError(f"{source_of(sample)} has {len(values)} channels; the step grey takes 1 or 3: convert it.")
        if sample.image.dtype != np.uint8:
            self._require_for_floats(sample)
            return torch.from_numpy(values.astype(np.float32) * np.float32(FULL / white_value(sample)))
        if self.params.on_pillow:
            return _pillow(values, sample)
        return torch.from_numpy(values.copy())

    def _require_for_floats(self, sample: Sample) -> None:
        """Raise ``DataError`` for an interpolation that torch does not have for floats."""
        used = {getattr(step, "interpolation", "") for step in self.params.steps}.intersection(PILLOW_ONLY)
        if used:
            raise DataError(
                f"{source_of(sample)} is of type {sample.image.dtype}, but the interpolation {min(used)} of its "
                "transform is defined for 8 bits only; use bilinear or bicubic, or store 8 bits."
            )


def _pillow(values: Array, sample: Sample) -> Image.Image:
    """An image (c, h, w) uint8 as Pillow's."""
    if len(values) == 1:
        return Image.fromarray(values[0])
    if len(values) == 3:
        return Image.fromarray(np.ascontiguousarray(np.moveaxis(values, 0, -1)))
    raise DataError(
        f"{source_of(sample)} has {len(values)} channels; a transform of Pillow's images takes 1 or 3: convert it."
    )
