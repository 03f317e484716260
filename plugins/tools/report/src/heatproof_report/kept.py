"""Shows the arrays that explainers keep beside a heatmap: sequences of images and maps, class maps and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor

from heatproof.records import Array, Sample

from .overlay import PALETTE, colours_of, fullest_slice, rgb_image, webp

CLASSES = "class"
"""The name of an array of class indices, -1 for none."""
NO_CLASS = "#26211d"
"""The colour of pixels without a class."""
STEPS = 8
"""The most steps of a sequence that the page shows, the first and the last among them."""
SIZE = 224
"""Pixels of the longer side of a step's image; masks and class maps are not reduced."""


@dataclass(frozen=True)
class Strip:
    """One kept array as a row of cells: an image as data URI, or a number as text, for each shown step it has."""

    name: str
    cells: tuple[str, ...]
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class KeptArrays:
    """The shown steps, the number of all steps, one strip per array, and name and shape of arrays of another form."""

    steps: tuple[int, ...]
    count: int
    strips: tuple[Strip, ...]
    others: tuple[str, ...]


def kept_arrays(
    arrays: Mapping[str, Array], prepared: Sample, heatmap: Array, classes: Sequence[str]
) -> KeptArrays | None:
    """Draw the kept arrays of one case, given its prepared sample and its heatmap (*space); None where nothing is kept.

    Images are (step, c, *space), maps (step, *space) or (*space), numbers (step,).
    """
    sequences: dict[str, Array] = {}
    others = []
    for name, array in arrays.items():
        steps_first = sequence(array, prepared.space)
        if steps_first is None:
            others.append(f"{name} {array.shape}")
        elif len(steps_first):
            sequences[name] = steps_first
    if not sequences and not others:
        return None
    count = max(map(len, sequences.values()), default=0)
    steps = np.unique(np.linspace(0, count - 1, min(count, STEPS)).round().astype(int))
    index = None
    if heatmap.ndim == 3:
        index = fullest_slice(prepared, heatmap)
    strips = [_strip(name, values[steps[steps < len(values)]], index, classes) for name, values in sequences.items()]
    return KeptArrays(tuple(map(int, steps)), count, tuple(strips), tuple(others))


def sequence(array: Array, space: tuple[int, ...]) -> Array | None:
    """Put the steps of an array first and cut off the padding of NaN at its end; None for an array of another form."""
    if array.shape == space:
        array = array[None]
    if array.ndim > 1 and (array.shape[-len(space) :] != space or array.ndim > len(space) + 2):
        return None
    filled = ~np.isnan(array).reshape(len(array), -1).all(1)
    return array[: int(np.flatnonzero(filled).max(initial=-1)) + 1]


def _strip(name: str, values: Array, index: int | None, classes: Sequence[str]) -> Strip:
    """Draw the shown steps of an array, of volumes the slice at ``index``; all steps share one colour scale."""
    if values.ndim == 1:
        return Strip(name, tuple(f"{value:.3g}" for value in values))
    if index is not None:
        values = values[..., index, :, :]
    values = np.nan_to_num(values)
    if values.ndim == 4:
        return Strip(name, tuple(_reduced(rgb_image(image)) for image in _brightness(values)))
    if name == CLASSES:
        return _class_strip(name, values.astype(int), classes)
    if np.isin(values, (0, 1)).all():
        masks = 255 * values.astype(np.uint8)
        return Strip(name, tuple(webp(Image.fromarray(mask), lossless=True) for mask in masks))
    pixels = colours_of(values)[0]
    return Strip(name, tuple(_reduced(_on_black(step)) for step in pixels))


def _brightness(images: Array) -> Array:
    """Scale images (step, c, h, w) to 8 bits; black is the smallest and white the largest value of all steps."""
    low = images.min()
    span = np.ptp(images) or 1.0
    return np.asarray(255 * (images - low) / span, dtype=np.uint8)


def _on_black(pixels: Array) -> Image.Image:
    """Draw pixels (h, w, RGBA) on black: transparency would take more bytes than the colours."""
    return Image.fromarray((pixels[..., :3] * (pixels[..., 3:] / 255)).astype(np.uint8))


def _reduced(image: Image.Image) -> str:
    image.thumbnail((SIZE, SIZE), Image.Resampling.BOX)
    return webp(image, quality=70)


def _class_strip(name: str, indices: Array, classes: Sequence[str]) -> Strip:
    """Draw class maps (step, h, w) with one colour per class."""
    pixels = np.zeros((*indices.shape, 3), np.uint8)
    legend = []
    for index in np.unique(indices).tolist():
        colour, label = _class_style(index, classes)
        pixels[indices == index] = ImageColor.getrgb(colour)
        legend.append((colour, label))
    cells = tuple(webp(Image.fromarray(step), lossless=True) for step in pixels)
    return Strip(name, cells, tuple(legend))


def _class_style(index: int, classes: Sequence[str]) -> tuple[str, str]:
    """The colour and the label of a class index; the label is the index itself where the model has no such class."""
    if index < 0:
        return NO_CLASS, "none"
    colour = PALETTE[index % len(PALETTE)]
    if index < len(classes):
        return colour, classes[index]
    return colour, str(index)
