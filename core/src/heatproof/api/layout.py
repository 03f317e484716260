"""How the images of a caller are laid out, and what their values mean: inferred from all of them, and said."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from ..errors import DataError, ModelError
from ..network.modules import CONVOLUTIONS
from ..records import Array

WIDTHS = {1, 3, 4}
"""The channels of grey, coloured and partly transparent images."""
OPAQUE = 3
"""The colours of an image with transparency."""
WHITE = 255

Meaning = Literal["image", "bytes", "prepared"]
"""The values of images: black and white by their type, from 0 to 255 as floats, or what a network takes already."""


@dataclass(frozen=True)
class Form:
    """The form of a network's images: their channels, None where they are not known, and their spatial axes."""

    channels: int | None = None
    axes: int = 2

    @classmethod
    def of(cls, network: nn.Module) -> "Form":
        """The form that the first convolution of a network takes; raises ``ModelError`` for layers without weights."""
        if any(isinstance(parameter, UninitializedParameter) for parameter in network.parameters()):
            raise ModelError("the network has lazy layers without weights; call it once on an image first.")
        first = next((module for module in network.modules() if isinstance(module, CONVOLUTIONS)), None)
        return cls() if first is None else cls(int(first.in_channels), first.weight.ndim - 2)

    @property
    def widths(self) -> set[int]:
        """The numbers of channels that images may have."""
        return WIDTHS | ({self.channels} if self.channels else set())


def array_of(values: Any) -> Array:
    """Values as an array of numpy's, which a tensor and an array share; raises ``DataError`` for anything else."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        if values.dtype in (torch.float16, torch.bfloat16):
            values = values.float()
        return np.asarray(values.numpy())
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise DataError(f"images have the type {array.dtype}; give numbers, as arrays, tensors, images or paths.")
    return array.astype(np.float32) if array.dtype == np.float16 else array


def divided(images: Array, form: Form, count: int | None) -> Sequence[Array]:
    """The images of one array: those along its first axis, or the array itself where it is one image.

    ``count`` is the number of images that labels or annotations tell, None where nothing tells it. Raises ``DataError``
    for an array of other dimensions.
    """
    axes = form.axes
    if images.ndim == axes + 2:
        return list(images)
    ends = {images.shape[0], images.shape[-1]} if images.ndim > 1 else set()
    if images.ndim == axes + 1 and form.channels not in ends:
        several = count == len(images) and count != 1
        if several or not ends & form.widths:
            return list(images)
    if images.ndim in (axes, axes + 1):
        return [images]
    raise DataError(
        f"images have the shape {images.shape}; give (n, channel, {_axes(axes)}), (n, {_axes(axes)}, channel), "
        f"(n, {_axes(axes)}), or one image without the first axis."
    )


def channels_first(image: Array, form: Form, name: str) -> Array:
    """An image as (c, *space), of a layout with the channels first, last or nowhere; without its transparency.

    Raises ``DataError`` where no axis can be the channels.
    """
    if image.ndim == form.axes:
        image = image[None]
    if image.ndim != form.axes + 1:
        raise DataError(f"{name} has the shape {image.shape}; give an image of {form.axes} axes and channels.")
    image = np.moveaxis(image, _channel_axis(image.shape, form, name), 0)
    if len(image) == max(WIDTHS) and form.channels != len(image):
        image = image[:OPAQUE]
    return np.ascontiguousarray(image)


def layout_of(image: Array, form: Form) -> str:
    """The layout of an image that ``channels_first`` takes, in words."""
    if image.ndim == form.axes:
        return "without an axis of channels"
    axis = _channel_axis(image.shape, form, "the image")
    words = ["with the channels first", "with the channels last"][axis]
    if image.shape[axis] == max(WIDTHS) and form.channels != max(WIDTHS):
        words += ", whose transparency is left out"
    return words


def _channel_axis(shape: tuple[int, ...], form: Form, name: str) -> int:
    """The first axis or the last: one with usual channels, or else with those of the network."""
    # The convolution that a network lists first need not be the one that sees the image.
    for widths in (WIDTHS, form.widths):
        for axis in (0, -1):
            if shape[axis] in widths:
                return axis
    allowed = ", ".join(map(str, sorted(form.widths)))
    raise DataError(f"{name} has the shape {shape}, where neither the first nor the last axis has {allowed} channels.")


def _axes(axes: int) -> str:
    return ", ".join({1: ["length"], 2: ["height", "width"], 3: ["depth", "height", "width"]}[axes])


@dataclass(frozen=True)
class Range:
    """The smallest and largest value of images, whether all are whole, the kinds of their types, and their white."""

    low: float
    high: float
    whole: bool
    kinds: frozenset[str]
    white: float

    @classmethod
    def of(cls, image: Array, name: str) -> "Range":
        """The range of one image; raises ``DataError`` for values that are not finite."""
        if not np.isfinite(image).all():
            raise DataError(f"{name} holds values that are NaN or infinite; fill them, or leave it out.")
        whole = image.dtype.kind != "f" or bool((image == np.rint(image)).all())
        white = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
        return cls(float(image.min()), float(image.max()), whole, frozenset(image.dtype.kind), white)

    @classmethod
    def over(cls, ranges: Iterable["Range"]) -> "Range":
        """The range of all images together."""
        parts = list(ranges)
        kinds = frozenset().union(*(part.kinds for part in parts))
        low = min(part.low for part in parts)
        high = max(part.high for part in parts)
        return cls(low, high, all(part.whole for part in parts), kinds, max(part.white for part in parts))

    @property
    def meaning(self) -> Meaning:
        """What the values mean."""
        if self.kinds <= {"b", "u"} or ("u" not in self.kinds and self.low >= 0 and self.high <= 1):
            return "image"
        if self.low >= 0 and self.high <= WHITE and self.whole:
            return "bytes"
        return "prepared"


def with_white(image: Array, meaning: Meaning) -> Array:
    """An image (c, *space) with a black and a white: unsigned integers, or floats from 0 to 1."""
    if meaning == "image" and image.dtype.kind in "bi":
        return image.astype(np.float32)
    if meaning == "bytes":
        return image.astype(np.uint8)
    return image
