"""Small pictures of cases, with the heatmap of the decided class beside them, as data URIs."""

import base64
import io
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from heatproof.explainer import heatmaps
from heatproof.imaging.original import brightness
from heatproof.records import Array, Sample

from .stored import Stored

SIDE = 128
"""The longer side of a picture in pixels."""
SHARE = 99.5
"""The percentile of a heatmap at which its colours end."""


def shown(subject: Stored) -> list[int]:
    """Return the rows of the cases whose pictures are shown: all, or as many as the config allows, by the seed."""
    most = min(subject.cohort.config.pictures, len(subject.cases))
    drawn = subject.generator("pictures").choice(len(subject.cases), most, replace=False)
    return sorted(int(row) for row in drawn)


def pictures(subject: Stored, rows: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Yield the picture of each case and its heatmap, which is empty without an explainer."""
    config = subject.cohort.config
    for start in range(0, len(rows), config.rows):
        piece = rows[start : start + config.rows]
        samples = [subject.sample(row) for row in piece]
        maps = _heatmaps(subject, piece, samples)
        for position, sample in enumerate(samples):
            heatmap = "" if maps is None else uri(heat(plane(maps[position])))
            yield uri(grey_or_colour(sample)), heatmap


def _heatmaps(subject: Stored, rows: Sequence[int], samples: Sequence[Sample]) -> Array | None:
    """The heatmaps (n, *space) of some cases at the classes that were decided; None without an explainer."""
    config = subject.cohort.config
    if config.explainer is None:
        return None
    classes = subject.model.classes
    targets = [classes.index(subject.cases[row].decision) for row in rows]
    if subject.model.head in ("ordinal", "regression"):
        targets = [0] * len(rows)
    batch = subject.cohort.batch(samples, targets, config.explainer)
    return heatmaps(config.explainer(batch), "max")


def grey_or_colour(sample: Sample) -> Image.Image:
    """Return the prepared image of a sample; of a volume the middle slice."""
    image = sample.image
    if image.ndim == 4:
        image = image[:, image.shape[1] // 2]
    pixels = np.moveaxis(brightness(image), 0, -1)
    return Image.fromarray(np.ascontiguousarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0])).convert("RGB")


def plane(values: Array) -> Array:
    """Return a heatmap of two dimensions; of a volume the middle slice."""
    return values if values.ndim == 2 else np.asarray(values[len(values) // 2])


def heat(values: Array) -> Image.Image:
    """Colour a heatmap (h, w), from its smallest value to its percentile ``SHARE``; grey where it is not finite."""
    from matplotlib import colormaps

    finite = np.isfinite(values)
    if not finite.any():
        return Image.new("RGB", values.shape[::-1], "#808080")
    low = values[finite].min()
    high = np.percentile(values[finite], SHARE)
    scaled = np.clip((np.nan_to_num(values) - low) / (high - low or 1), 0, 1)
    colours = colormaps["magma"](scaled, bytes=True)[..., :3]
    colours[~finite] = 128
    return Image.fromarray(np.ascontiguousarray(colours))


def uri(image: Image.Image) -> str:
    """Return an image as WebP in a data URI, at most ``SIDE`` pixels wide and high."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=70, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
