"""Images for the page: original and coloured heatmap as WebP, annotations as outlines, on the model's grid."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from heatproof.errors import DataError
from heatproof.imaging.original import brightness
from heatproof.records import Array, Sample

PALETTE = ("#56b4e9", "#f0e442", "#2fd6a3", "#ff9fd6", "#ffffff", "#ff8a3d", "#b9a2ff", "#c3c3c3")
"""Colours of findings, told apart by colour-blind readers and bright enough for photographs."""
DASHES = ("none", "5 3", "2 2", "9 3 2 3", "12 4")
"""Strokes of findings, so that colour is never the only difference."""
MARGIN = 4
"""Pixels round an image in which outlines may run, so that they close."""
SHARE = 99.5
"""Percentile of a heatmap at which its colours end, so that single pixels do not hide the rest."""
SCALES = {False: "magma", True: "RdBu_r"}
"""Colours of heatmaps without and with a sign."""
STOPS = 9
"""Colours of the legend's bar."""


@dataclass(frozen=True)
class Outline:
    """The outline of one finding: its colour and stroke, the share of the field that it covers, and SVG path data."""

    finding: str
    colour: str
    dash: str
    share: float
    path: str


@dataclass(frozen=True)
class Heat:
    """A coloured heatmap: the image, the values at both ends of its colours, and the colours of its legend."""

    uri: str
    low: float
    high: float
    signed: bool
    bar: str


@dataclass(frozen=True)
class Overlay:
    """All layers of one case, of one size in pixels."""

    width: int
    height: int
    original: str
    layers: tuple[Outline, ...]
    heat: Heat
    remark: str = ""


def overlay(prepared: Sample, original: Array | None, values: Array, findings: Sequence[str]) -> Overlay:
    """The layers of a case: its sample on the model's grid, its original (h, w, 3) there, its heatmap (*space).

    Without an original the model's own view is shown. ``findings`` fixes the order of colours for all samples of a
    dataset.
    """
    if values.shape != prepared.space:
        raise DataError(f"the heatmap is {values.shape}, the prepared sample {prepared.space}: the data have changed.")
    remark = ""
    if values.ndim == 3:
        number = fullest(prepared, values)
        remark = f"Slice {number + 1} of {len(values)}, the one with most annotation."
        prepared, values = _slice(prepared, number), values[number]
    photo = shown(prepared.image) if original is None else Image.fromarray(original)
    return Overlay(photo.width, photo.height, webp(photo), outlines(prepared, findings), heat(values), remark)


def shown(image: Array) -> Image.Image:
    """An image (c, h, w) in colour (three channels) or grey (the first one); all but 8 bits span black to white."""
    pixels = np.ascontiguousarray(np.moveaxis(brightness(image), 0, -1))
    return Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0]).convert("RGB")


def outlines(sample: Sample, findings: Sequence[str]) -> tuple[Outline, ...]:
    """A line round every marked region of each finding that the sample shows."""
    field = np.ones(sample.space, bool) if sample.field is None else sample.field
    styles = dict(zip(dict.fromkeys([*findings, *sample.findings()]), zip(cycle(PALETTE), cycle(DASHES))))
    masks = {finding: sample.mask(finding) for finding in sample.findings()}
    return tuple(
        Outline(finding, *styles[finding], float(mask.sum() / max(1, field.sum())), _path(mask > 0))
        for finding, mask in masks.items()
        if mask is not None and mask.any()
    )


def _path(mask: Array) -> str:
    """SVG path data of lines that run some two pixels outside a mask (h, w) bool; close regions share a line."""
    from matplotlib.figure import Figure

    solid = Image.fromarray(np.pad(mask, MARGIN).astype(np.uint8) * 255)
    soft = np.asarray(solid.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.GaussianBlur(1.5)))
    lines = Figure().subplots().contour(soft, [96]).allsegs[0]
    return "".join(map(_line, lines))


def _line(points: Array) -> str:
    """A closed line through every second point (n, 2), each as a step from the one before."""
    tenths = np.round(10 * (points[::2] + 0.5 - MARGIN)).astype(int)
    steps = np.diff(tenths, axis=0, prepend=0) / 10
    first, *others = (f"{x:g} {y:g}" for x, y in steps)
    return f"M{first}l{' '.join(others)}z"


def heat(values: Array) -> Heat:
    """A heatmap (h, w) in colours whose opacity grows with the value: magma, or blue and red where it has a sign."""
    from matplotlib import colormaps

    pixels, low, high, signed = coloured(values)
    stops = [_hex(colour) for colour in colormaps[SCALES[signed]](np.linspace(0, 1, STOPS), bytes=True)]
    return Heat(webp(Image.fromarray(pixels), quality=60, alpha_quality=50), low, high, signed, ", ".join(stops))


def coloured(values: Array) -> tuple[Array, float, float, bool]:
    """Heat of any shape as RGBA (…, 4), the values at both ends of its colours, and whether it has a sign."""
    from matplotlib import colormaps

    signed = bool(values.min() < 0)
    high = float(np.percentile(np.abs(values), SHARE))
    low = -high if signed else float(min(values.min(), high))
    scaled = np.clip((values - low) / (high - low or 1), 0, 1)
    pixels = colormaps[SCALES[signed]](scaled, bytes=True)
    pixels[..., 3] = np.round(255 * np.sqrt(np.abs(2 * scaled - 1) if signed else scaled))
    return pixels, low, high, signed


def _hex(colour: Array) -> str:
    return "#" + bytes(colour[:3].tolist()).hex()


def webp(image: Image.Image, **options: Any) -> str:
    """An image as a data URI."""
    stream = io.BytesIO()
    image.save(stream, "WEBP", **{"quality": 80, "method": 4} | options)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def fullest(sample: Sample, values: Array) -> int:
    """The slice along the first axis with most annotation, or else with most heat."""
    masses = [mark.values for mark in sample.annotations] or [np.abs(values)]
    total = np.sum(masses, axis=0)
    chosen = total if total.any() else np.abs(values)
    return int(chosen.sum(axis=(1, 2)).argmax())


def _slice(sample: Sample, place: int) -> Sample:
    marks = tuple(replace(mark, values=mark.values[place]) for mark in sample.annotations)
    field = None if sample.field is None else sample.field[place]
    return replace(sample, image=sample.image[:, place], annotations=marks, field=field, geometry=None)
