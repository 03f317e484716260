"""Draws the images of a case on the model's grid: original and coloured heatmap as WebP, annotations as outlines."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from heatproof.errors import DataError
from heatproof.imaging.original import brightness
from heatproof.records import Array, Sample

PALETTE = ("#56b4e9", "#f0e442", "#2fd6a3", "#ff9fd6", "#ffffff", "#ff8a3d", "#b9a2ff", "#c3c3c3")
"""Colours of findings: distinct for colour-blind people and bright enough for fundus photographs."""
DASHES = ("none", "5 3", "2 2", "9 3 2 3", "12 4")
"""Strokes of findings: colour is never the only difference between two findings."""
MARGIN = 4
"""Pixels of padding round an image: outlines of regions at its border close there."""
SHARE = 99.5
"""Percentile of a heatmap at which its colour scale ends: a few extreme pixels must not darken all others."""
SCALES = {False: "magma", True: "RdBu_r"}
"""Matplotlib's colour scales for heatmaps without and with negative values."""
STOPS = 9
"""Number of colours in the legend's bar."""


@dataclass(frozen=True)
class Outline:
    """The outline of one finding: colour, stroke, covered share of the field of view, and SVG path data."""

    finding: str
    colour: str
    dash: str
    share: float
    path: str


@dataclass(frozen=True)
class Heat:
    """A coloured heatmap: the image, the values at both ends of its colour scale, and the colours of its legend."""

    uri: str
    low: float
    high: float
    signed: bool
    bar: str


@dataclass(frozen=True)
class Overlay:
    """All layers of one case; they have the same size in pixels."""

    width: int
    height: int
    original: str
    layers: tuple[Outline, ...]
    heat: Heat
    remark: str = ""


def overlay(prepared: Sample, original: Array | None, values: Array, findings: Sequence[str]) -> Overlay:
    """Draw the layers of a case from its prepared sample, its original (h, w, 3) on the same grid, and its heatmap.

    ``values`` is the heatmap (*space). Without an original, the prepared image is shown. ``findings`` fixes the order
    of colours for all samples of a dataset.
    """
    if values.shape != prepared.space:
        raise DataError(
            f"the heatmap has the shape {values.shape}, the prepared sample {prepared.space}: the data have changed "
            "since the run; run the same config again."
        )
    remark = ""
    if values.ndim == 3:
        index, content = fullest_slice(prepared, values)
        remark = f"Slice {index + 1} of {len(values)}, the slice with the most {content}."
        prepared = _slice(prepared, index)
        values = values[index]
    image = rgb_image(prepared.image) if original is None else Image.fromarray(original)
    return Overlay(image.width, image.height, webp(image), outlines(prepared, findings), heat(values), remark)


def rgb_image(image: Array) -> Image.Image:
    """Convert an image (c, h, w) to RGB: three channels as colour, otherwise the first one as grey.

    Images of other types than 8 bits span black to white.
    """
    pixels = np.ascontiguousarray(np.moveaxis(brightness(image), 0, -1))
    if pixels.shape[-1] != 3:
        pixels = pixels[..., 0]
    return Image.fromarray(pixels).convert("RGB")


def outlines(sample: Sample, findings: Sequence[str]) -> tuple[Outline, ...]:
    """Draw the outlines of all annotated regions, one ``Outline`` per finding that the sample shows."""
    field = np.ones(sample.space, bool) if sample.field is None else sample.field
    names = dict.fromkeys([*findings, *sample.findings()])
    styles = dict(zip(names, zip(cycle(PALETTE), cycle(DASHES))))
    layers = []
    for finding in sample.findings():
        mask = sample.mask(finding)
        if mask is not None and mask.any():
            colour, dash = styles[finding]
            layers.append(Outline(finding, colour, dash, float(mask.sum() / max(1, field.sum())), _path(mask > 0)))
    return tuple(layers)


def _path(mask: Array) -> str:
    """Trace a mask (h, w) bool as SVG path data."""
    return "".join(map(_line, traced(mask)))


def traced(mask: Array) -> list[Array]:
    """Trace a mask (h, w) bool, about two pixels outside of it; close regions share an outline.

    Returns closed lines of points (n, 2), x before y, on a grid whose pixel ``i`` spans ``[i, i + 1)``.
    """
    from matplotlib.figure import Figure

    solid = Image.fromarray(np.pad(mask, MARGIN).astype(np.uint8) * 255)
    soft = np.asarray(solid.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.GaussianBlur(1.5)))
    lines = Figure().subplots().contour(soft, [96]).allsegs[0]
    return [line[::2] + 0.5 - MARGIN for line in lines]


def _line(points: Array) -> str:
    """Write a closed line (n, 2) as SVG path data with relative steps."""
    tenths = np.round(10 * points).astype(int)
    steps = np.diff(tenths, axis=0, prepend=0) / 10
    first, *others = (f"{x:g} {y:g}" for x, y in steps)
    return f"M{first}l{' '.join(others)}z"


def heat(values: Array) -> Heat:
    """Colour a heatmap (h, w): magma, or blue and red where it has negative values; opacity grows with the value."""
    from matplotlib import colormaps

    pixels, low, high, signed = colours_of(values)
    stops = [_hex(colour) for colour in colormaps[SCALES[signed]](np.linspace(0, 1, STOPS), bytes=True)]
    return Heat(webp(Image.fromarray(pixels), quality=60, alpha_quality=50), low, high, signed, ", ".join(stops))


def colours_of(values: Array) -> tuple[Array, float, float, bool]:
    """Colour heat of any shape: RGBA (…, 4), the values at both ends of the scale, whether any value is negative."""
    low, high, signed = scale_of(values)
    return coloured(values, low, high, signed), low, high, signed


def scale_of(values: Array) -> tuple[float, float, bool]:
    """The values at both ends of the colour scale of a heatmap, and whether any of its values is negative."""
    signed = bool(values.min() < 0)
    high = float(np.percentile(np.abs(values), SHARE))
    low = -high
    if not signed:
        low = float(min(values.min(), high))
    return low, high, signed


def coloured(values: Array, low: float, high: float, signed: bool) -> Array:
    """Colour heat of any shape between two values: RGBA (…, 4); opacity grows with the value, or its size."""
    from matplotlib import colormaps

    scaled = np.clip((values - low) / (high - low or 1), 0, 1)
    strength = np.abs(2 * scaled - 1) if signed else scaled
    pixels: Array = colormaps[SCALES[signed]](scaled, bytes=True)
    pixels[..., 3] = np.round(255 * np.sqrt(strength))
    return pixels


def _hex(colour: Array) -> str:
    return "#" + bytes(colour[:3].tolist()).hex()


def webp(image: Image.Image, **options: Any) -> str:
    """Encode an image as WebP in a data URI; ``options`` are those of Pillow."""
    stream = io.BytesIO()
    image.save(stream, "WEBP", **{"quality": 80, "method": 4} | options)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def fullest_slice(sample: Sample, heatmap: Array) -> tuple[int, str]:
    """The index of the slice with the most ``annotation``, or ``heat`` where nothing is annotated, and that word.

    Slices lie along the first axis of the heatmap (*space); negative heat counts by its size.
    """
    content = "heat"
    mass = np.abs(heatmap)
    if any(annotation.values.any() for annotation in sample.annotations):
        content = "annotation"
        mass = np.sum([annotation.values for annotation in sample.annotations], axis=0)
    return int(mass.sum(axis=(1, 2)).argmax()), content


def sliced(sample: Sample, heatmaps: Mapping[str, Array]) -> tuple[Sample, dict[str, Array], str]:
    """Cut the same slice out of a volume and its heatmaps, with a remark that names it; each heatmap counts alike."""
    sizes = [np.abs(heatmap) / (np.abs(heatmap).max() or 1) for heatmap in heatmaps.values()]
    index, content = fullest_slice(sample, np.sum([np.zeros(sample.space), *sizes], axis=0))
    remark = f"Slice {index + 1} of {sample.space[0]}, the slice with the most {content}."
    return _slice(sample, index), {name: heatmap[index] for name, heatmap in heatmaps.items()}, remark


def _slice(sample: Sample, index: int) -> Sample:
    """The slice of a prepared volume as a sample of two axes."""
    annotations = tuple(replace(annotation, values=annotation.values[index]) for annotation in sample.annotations)
    field = None if sample.field is None else sample.field[index]
    return replace(sample, image=sample.image[:, index], annotations=annotations, field=field, geometry=None)
