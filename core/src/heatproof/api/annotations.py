"""Annotations of a caller: masks, boxes and densities of one image, in the forms in which people have them."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from ..errors import DataError
from ..imaging.images import read_mask
from ..imaging.outlines import Overhang, add_outline, box
from ..records import Annotation, AnnotationKind, Array, Geometry
from .layout import WHITE, array_of

FINDING = "finding"
"""The finding of annotations that have no name."""
CORNERS = 3
"""The corners that an outline has at least."""

RawAnnotations: TypeAlias = tuple[tuple[str, AnnotationKind, Any], ...]
"""Finding, kind and value of every annotation of one image."""


def by_image(values: Any, kind: AnnotationKind, count: int, axes: int) -> list[RawAnnotations]:
    """The annotations of ``count`` images, given as one value per image, or as a mapping from finding to such values.

    None stands for an image that nobody examined. Raises ``DataError`` for another number of values.
    """
    by_finding = values if isinstance(values, Mapping) else {FINDING: values}
    annotations: list[RawAnnotations] = [()] * count
    for finding, entries in by_finding.items():
        entries = listed(entries, f"annotations of {finding}", count, axes)
        for index, entry in enumerate(entries):
            if entry is not None:
                annotations[index] = (*annotations[index], (str(finding), kind, entry))
    return annotations


def listed(values: Any, what: str, count: int, axes: int = 2) -> list[Any]:
    """One value per image; raises ``DataError`` for another number of them. A single image may have its value alone.

    ``axes`` is the number of axes of an image, by which a mask alone is known.
    """
    if isinstance(values, Iterator):
        values = list(values)
    if count == 1 and (not isinstance(values, (Sequence, np.ndarray, torch.Tensor)) or is_alone(values, axes)):
        values = [values]
    entries = list(values)
    if len(entries) != count:
        raise DataError(f"{what}: {len(entries)}, images: {count}; give one value per image, None where there is none.")
    return entries


def is_alone(values: Any, axes: int) -> bool:
    """Whether values are those of a single image: a text, a number, or a mask with the axes of an image."""
    return isinstance(values, str) or (not isinstance(values, Sequence) and np.ndim(values) in (0, axes))


def annotation(finding: str, kind: AnnotationKind, value: Any, geometry: Geometry, name: str) -> Annotation:
    """The annotation of an image on its native grid; raises ``DataError`` for one that does not fit it."""
    source = f"{name}, {finding}"
    shape = geometry.native
    outlined = kind == "mask" and _shape(value) != shape and _is_outlines(value)
    if len(shape) != 2 and (kind == "box" or outlined):
        raise DataError(f"{source}: boxes and outlines are drawn on images of two axes; give masks of a volume.")
    if kind == "box":
        values = _boxes(value, shape, source)
    elif isinstance(value, (str, PathLike)):
        path = Path(value).expanduser()
        source = str(path)
        values = read_mask(path, image=geometry)
    elif outlined:
        values = _outlines(value, shape, source)
    else:
        values = _values(value, kind, shape, source)
    if values.shape != shape:
        raise DataError(f"{source} has {values.shape} pixels, its image {shape}; draw it on the grid of the image.")
    return Annotation(finding, values, kind, source=source)


def _values(value: Any, kind: AnnotationKind, shape: tuple[int, ...], source: str) -> Array:
    """A mask (*space) of bool, or the shares of pixels; a density as it is."""
    array = array_of(np.asarray(value) if isinstance(value, Image.Image) else value)
    if array.shape in ((1, *shape), (*shape, 1)):
        array = array.reshape(shape)
    if kind == "density":
        if not np.isfinite(array).all() or array.min() < 0:
            raise DataError(f"{source} is a density with negative or missing values; give numbers from 0 on.")
        return array.astype(np.float32)
    if array.dtype == bool:
        return array
    levels = np.unique(array)
    if np.isin(levels, (0, 1)).all():
        return array.astype(bool)
    if np.isin(levels, (0, WHITE)).all():
        return array > 0
    if array.dtype.kind == "f" and levels[0] >= 0 and levels[-1] <= 1:
        return array.astype(np.float32)
    shown = ", ".join(f"{level:g}" for level in levels[:5]) + (", …" if len(levels) > 5 else "")
    raise DataError(
        f"{source} is a mask with the values {shown}; give bool, 0 and 1, 0 and 255, or shares from 0 to 1. A mask of "
        "several classes becomes one mask per finding: masks={'cyst': mask == 1, …}."
    )


def _is_outlines(value: Any) -> bool:
    """Whether a value is a list of outlines: each a list of corners (n, 2), or flat as x, y, x, y."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    try:
        return all((np.ndim(outline) == 2 and np.shape(outline)[1] == 2) or _is_flat(outline) for outline in value)
    except ValueError:
        return False


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of a value; empty for a list of entries of different lengths."""
    try:
        return np.shape(value)
    except ValueError:
        return ()


def _is_flat(outline: Any) -> bool:
    return isinstance(outline, (list, tuple)) and np.ndim(outline) == 1 and len(outline) % 2 == 0


def _outlines(outlines: Sequence[Any], shape: tuple[int, ...], source: str) -> Array:
    mask = np.zeros(shape, dtype=np.float32)
    for number, outline in enumerate(outlines, 1):
        name = f"{source}, outline {number}"
        points = np.asarray(outline, dtype=np.float64).reshape(-1, 2)
        if len(points) < CORNERS or not np.isfinite(points).all():
            raise DataError(f"{name} has {len(points)} corners; give three or more, as finite x and y in pixels.")
        Overhang().require(points.min(axis=0).tolist(), points.max(axis=0).tolist(), shape, name, "outline")
        add_outline(points, mask, name)
    return mask


def _boxes(value: Any, shape: tuple[int, ...], source: str) -> Array:
    """The shares (h, w) that boxes x1, y1, x2, y2 in pixels cover; all zero for an empty list."""
    corners = array_of(value).astype(np.float64).reshape(-1, 4) if len(value) else np.zeros((0, 4))
    covered = np.zeros(shape, dtype=np.float32)
    for left, top, right, bottom in corners.tolist():
        name = f"{left:g}, {top:g} – {right:g}, {bottom:g}"
        if not (left < right and top < bottom):
            raise DataError(f"{source}: the box {name} is empty; give x1, y1, x2, y2 in pixels, x2 and y2 the larger.")
        Overhang().require((left, top), (right, bottom), shape, source, "box")
        covered = np.maximum(covered, box((top, bottom), (left, right), shape))
    return covered
