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
"""The largest number of steps of a sequence on the page; the first and the last step are among them."""
SIZE = 224
"""The longer side of images and maps in pixels; masks and class maps keep their size."""


@dataclass(frozen=True)
class Strip:
    """A row of the page with one kept array: a cell per shown step, with an image (data URI) or a number (text).

    ``legend`` holds the colour and the label of each class of a class map.
    """

    name: str
    cells: tuple[str, ...]
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class KeptArrays:
    """The indices of the shown steps, the number of all steps, a strip per array, and the arrays of other shapes."""

    steps: tuple[int, ...]
    count: int
    strips: tuple[Strip, ...]
    others: tuple[str, ...]
    """Name and shape of each array that is neither images nor maps nor numbers."""


def kept_arrays(
    arrays: Mapping[str, Array], prepared: Sample, heatmap: Array, classes: Sequence[str]
) -> KeptArrays | None:
    """Draw the kept arrays of one case, given its prepared sample and its heatmap (*space); None where nothing is kept.

    Images are (step, c, *space), maps (step, *space) or (*space), numbers (step,).
    """
    sequences: dict[str, Array] = {}
    others = []
    for name, array in arrays.items():
        values = sequence(array, prepared.space)
        if values is None:
            others.append(f"{name} {array.shape}")
        elif len(values):
            sequences[name] = values
    if not sequences and not others:
        return None
    count = max(map(len, sequences.values()), default=0)
    steps = np.unique(np.linspace(0, count - 1, min(count, STEPS)).round().astype(int))
    index = None
    if heatmap.ndim == 3:
        index, _ = fullest_slice(prepared, heatmap)
    strips = []
    for name, values in sequences.items():
        # Arrays may have fewer steps than the longest one.
        shown = values[steps[steps < len(values)]]
        strips.append(_strip(name, shown, index, classes))
    return KeptArrays(tuple(map(int, steps)), count, tuple(strips), tuple(others))


def sequence(array: Array, space: tuple[int, ...]) -> Array | None:
    """Return images, maps or numbers by step, without the steps of NaN that pad the end; None for any other shape."""
    if array.shape == space:
        array = array[None]
    shows_space = array.shape[-len(space) :] == space and array.ndim <= len(space) + 2
    if array.ndim == 0 or (array.ndim > 1 and not shows_space):
        return None
    filled = ~np.isnan(array).reshape(len(array), -1).all(axis=1)
    count = int(np.flatnonzero(filled).max(initial=-1)) + 1
    return array[:count]


def _strip(name: str, values: Array, index: int | None, classes: Sequence[str]) -> Strip:
    """Draw the steps of an array with one colour scale; ``index`` is the slice to draw of volumes, None for images."""
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
    pixels, *_ = colours_of(values)
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
