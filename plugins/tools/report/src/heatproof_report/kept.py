"""What explainers keep of a case beside its heatmap: sequences of images and maps, class maps and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor

from heatproof.records import Array, Sample

from .overlay import PALETTE, coloured, fullest, shown, webp

CLASSES = "class"
"""An array of this name holds class indices, -1 for none."""
NOTHING = "#26211d"
"""The colour of pixels without a class."""
STEPS = 8
"""How many steps of a sequence the page shows at most, the first and the last among them."""
SIZE = 224
"""Pixels of the longer side of a step's image; masks and class maps are not reduced."""


@dataclass(frozen=True)
class Strip:
    """One kept array: per step an image as data URI, or a number as text; empty where the sequence has ended."""

    name: str
    cells: tuple[str, ...]
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Kept:
    """The steps that are shown out of so many, and a strip per array; arrays of another form by name and shape."""

    steps: tuple[int, ...]
    count: int
    strips: tuple[Strip, ...]
    others: tuple[str, ...]


def kept(arrays: Mapping[str, Array], prepared: Sample, values: Array, classes: Sequence[str]) -> Kept | None:
    """The arrays of one case whose form tells what they are, with the prepared sample and its heatmap (*space).

    Images are (step, c, *space), maps (step, *space) or (*space), numbers (step,).
    """
    sequences = {name: sequence(array, prepared.space) for name, array in arrays.items()}
    known = {name: made for name, made in sequences.items() if made is not None and len(made)}
    others = tuple(f"{name} {arrays[name].shape}" for name, made in sequences.items() if made is None)
    if not known:
        return Kept((), 0, (), others) if others else None
    count = max(map(len, known.values()))
    steps = np.unique(np.linspace(0, count - 1, min(count, STEPS)).round().astype(int))
    place = fullest(prepared, values) if values.ndim == 3 else None
    strips = [_strip(name, made[steps[steps < len(made)]], place, classes) for name, made in known.items()]
    return Kept(tuple(map(int, steps)), count, tuple(strips), others)


def sequence(array: Array, space: tuple[int, ...]) -> Array | None:
    """An array with the steps first, without those that only fill up; None for one of another form."""
    if array.shape == space:
        array = array[None]
    if array.ndim > 1 and (array.shape[-len(space) :] != space or array.ndim > len(space) + 2):
        return None
    there = ~np.isnan(array).reshape(len(array), -1).all(1)
    return array[: int(np.flatnonzero(there).max(initial=-1)) + 1]


def _strip(name: str, made: Array, place: int | None, classes: Sequence[str]) -> Strip:
    """The strip of the steps that are shown; of volumes the slice at ``place``. Colours mean the same at every step."""
    if made.ndim == 1:
        return Strip(name, tuple(f"{value:.3g}" for value in made))
    flat = np.nan_to_num(made if place is None else made[..., place, :, :])
    if flat.ndim == 4:
        return Strip(name, tuple(map(_reduced, map(shown, _brightness(flat)))))
    if name == CLASSES:
        return _classified(name, flat.astype(int), classes)
    if np.isin(flat, (0, 1)).all():
        return Strip(name, tuple(webp(Image.fromarray(one), lossless=True) for one in 255 * flat.astype(np.uint8)))
    return Strip(name, tuple(map(_reduced, map(_on_black, coloured(flat)[0]))))


def _brightness(images: Array) -> Array:
    """Images (step, c, h, w) as 8 bits that span black to white over all of them."""
    low, span = images.min(), np.ptp(images) or 1.0
    return np.asarray(255 * (images - low) / span, dtype=np.uint8)


def _on_black(pixels: Array) -> Image.Image:
    """Pixels (h, w, RGBA) without transparency, which would cost more bytes than the colours."""
    return Image.fromarray((pixels[..., :3] * (pixels[..., 3:] / 255)).astype(np.uint8))


def _reduced(image: Image.Image) -> str:
    image.thumbnail((SIZE, SIZE), Image.Resampling.BOX)
    return webp(image, quality=70)


def _classified(name: str, indices: Array, classes: Sequence[str]) -> Strip:
    """Class maps (step, h, w) with one colour per class."""
    labels = {index: _label(index, classes) for index in np.unique(indices).tolist()}
    colours = {index: PALETTE[index % len(PALETTE)] if index >= 0 else NOTHING for index in labels}
    pixels = np.zeros((*indices.shape, 3), np.uint8)
    for index, colour in colours.items():
        pixels[indices == index] = ImageColor.getrgb(colour)
    cells = tuple(webp(Image.fromarray(one), lossless=True) for one in pixels)
    return Strip(name, cells, tuple((colours[index], label) for index, label in labels.items()))


def _label(index: int, classes: Sequence[str]) -> str:
    if index < 0:
        return "none"
    return classes[index] if index < len(classes) else str(index)
