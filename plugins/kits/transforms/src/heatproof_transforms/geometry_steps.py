"""The steps that move pixels: resizing, cropping and padding."""

from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field
from torch import Tensor

from heatproof.imaging.transforms import Side
from heatproof_transforms.step import FULL, Api, Pixels, Space, Step, functional, space_of

Interpolation = Literal["nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos"]


def mode(interpolation: Interpolation) -> Any:
    """Return torchvision's member for an interpolation."""
    from torchvision.transforms import InterpolationMode

    return InterpolationMode(interpolation)


class Scaling(Step):
    """A step after which the same area has another number of pixels."""

    def apply_wide(self, image: Tensor) -> Tensor:
        """Resize; where an interpolation overshoots, values end at black and white, as those of 8 bits do."""
        return super().apply_wide(image).clamp(0, FULL)

    def scale(self, before: Space, after: Space) -> tuple[float, float]:
        """Return the ratio of the sizes."""
        return before[0] / after[0], before[1] / after[1]


class Resize(Scaling):
    """Resizes to (h, w), or the shorter side to a number, with the longer one at most ``longest``."""

    kind: Literal["resize"] = "resize"
    size: Side | tuple[Side, Side] | None
    longest: Side | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    api: Api = "v1"

    def apply(self, image: Pixels) -> Pixels:
        """Resize as Pillow does, or torch for a tensor."""
        size: Any = self.size
        if isinstance(size, int):
            size = [size]
        settings = {}
        if isinstance(image, Tensor):
            settings["antialias"] = self.antialias
        resized: Pixels = functional(self.api).resize(image, size, mode(self.interpolation), self.longest, **settings)
        return resized

    def space(self, before: Space | None) -> Space | None:
        """Return the size if both sides are given."""
        return self.size if isinstance(self.size, tuple) else None


class Fit(Scaling):
    """Resizes to the ratio at which (h, w) is covered (``longest`` 0) or contains the image (1), or between them."""

    kind: Literal["fit"] = "fit"
    size: tuple[Side, Side]
    longest: Annotated[float, Field(ge=0, le=1)] = 0.0
    interpolation: Interpolation = "bilinear"

    def apply(self, image: Pixels) -> Pixels:
        """Resize as timm's ``ResizeKeepRatio`` does."""
        space = space_of(image)
        ratios = [side / target for side, target in zip(space, self.size)]
        ratio = max(ratios) * self.longest + min(ratios) * (1.0 - self.longest)
        size = [round(side * 1.0 / ratio) for side in space]
        resized: Pixels = functional("v1").resize(image, size, mode(self.interpolation))
        return resized

    def space(self, before: Space | None) -> Space | None:
        """Return None: the size depends on the image."""
        return None


Fill: TypeAlias = float | tuple[float, ...]
"""The value beyond an image, one for all channels or one per channel, in the values that the image has at the step."""


def padded(image: Pixels, sides: list[int], fill: Fill) -> Pixels:
    """Add ``fill`` on the left, upper, right and lower side."""
    values: Any = fill
    if not (isinstance(image, Tensor) and image.is_floating_point()):
        values = np.asarray(fill).astype(np.uint8).tolist()
    result: Pixels = functional("v2").pad(image, sides, fill=values)
    return result


class Crop(Step):
    """Cuts (h, w) out of the middle; a smaller image is padded with ``fill`` first."""

    kind: Literal["crop"] = "crop"
    size: tuple[Side, Side]
    fill: Fill = 0.0

    def apply(self, image: Pixels) -> Pixels:
        """Pad where needed, then cut."""
        top, left = self.start(space_of(image))
        height, width = self.size
        lower, right = (max(0, goal - side) for goal, side in zip(self.size, space_of(image)))
        sides = [max(0, -left), max(0, -top), right + min(0, left), lower + min(0, top)]
        if any(sides):
            image = padded(image, sides, self.fill)
        cut: Pixels = functional("v2").crop(image, max(0, top), max(0, left), height, width)
        return cut

    def start(self, before: Space) -> tuple[int, int]:
        """Return where the middle part begins, negative where it is padded."""
        top, left = (_middle(side, goal) for side, goal in zip(before, self.size))
        return top, left

    def space(self, before: Space | None) -> Space | None:
        """Return the size of the part."""
        return self.size


def _middle(side: int, goal: int) -> int:
    """The first pixel of the middle part along an axis; torchvision rounds padding down and cropping to even."""
    if goal > side:
        return -((goal - side) // 2)
    return round((side - goal) / 2)


class Pad(Step):
    """Adds ``fill`` round the image: left, top, right and bottom in pixels."""

    kind: Literal["pad"] = "pad"
    sides: tuple[Annotated[int, Field(ge=0, le=10_000)], ...]
    fill: Fill = 0.0

    def apply(self, image: Pixels) -> Pixels:
        """Pad."""
        return padded(image, list(self.sides), self.fill)

    def start(self, before: Space) -> tuple[int, int]:
        """Return the upper left corner, which lies outside the image."""
        return -self.sides[1], -self.sides[0]

    def space(self, before: Space | None) -> Space | None:
        """Return the size with the borders."""
        left, top, right, bottom = self.sides
        return before and (before[0] + top + bottom, before[1] + left + right)
