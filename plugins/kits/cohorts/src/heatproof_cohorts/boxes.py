"""Reads a table of boxes, whose corners may be named in several ways, and the area that a box covers."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from heatproof.errors import DataError
from heatproof.imaging.outlines import Overhang, box
from heatproof.records import Annotation
from heatproof_cohorts.tables import Row, number, read_rows, read_table

CORNERS = ("x1", "y1", "x2", "y2")
FORMS = (
    CORNERS,
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
)
"""The names of a box: two corners, or the upper left corner and the size; in pixels from the upper left corner."""

DECIMAL = re.compile(r"[0-9]*\.?[0-9]+")


def read_boxes(path: Path) -> Mapping[str, list[Row]]:
    """Read the rows of a table of boxes by file: file, finding, reader, and the names of one of ``FORMS``.

    Raises ``DataError`` for a table without such columns, or whose boxes are shares of the image instead of pixels.
    """
    names = tuple(dict.fromkeys(name for form in FORMS for name in form))
    form = _form(path, read_table(path, ("file", "finding"), names, neutralised=True).columns)
    rows = read_rows(path, ("file", "finding", *form), ("reader",), neutralised=True)
    _require_pixels(path, rows, form)
    boxes: dict[str, list[Row]] = {}
    for row in rows:
        boxes.setdefault(row["file"], []).append(row)
    return boxes


def _form(path: Path, columns: frozenset[str]) -> Sequence[str]:
    forms = [form for form in FORMS if columns.issuperset(form)]
    if len(forms) != 1:
        allowed = "; ".join(", ".join(form) for form in FORMS)
        present = "; ".join(", ".join(form) for form in forms) or "none of them"
        raise DataError(f"{path} needs columns for boxes in one of these forms: {allowed} (it has: {present}).")
    return forms[0]


def _require_pixels(path: Path, rows: Sequence[Row], form: Sequence[str]) -> None:
    values = [float(row[name]) for row in rows for name in form if DECIMAL.fullmatch(row[name])]
    if values and min(values) >= 0 and max(values) <= 1 and any(value % 1 for value in values):
        raise DataError(f"{path}: no box reaches beyond 1, so they seem to be shares of the image; give pixels.")


def box_of(row: Row, shape: tuple[int, ...], overhang: Overhang) -> Annotation:
    """Compute the share of each pixel (h, w) that a box covers; all zero where the row has no corners.

    Raises ``DataError`` for a box that is empty, or reaches beyond the image farther than ``overhang`` allows.
    """
    form = next(form for form in FORMS if row.values.keys() >= set(form))
    if not row["finding"]:
        raise DataError(f"{row.source}: the box has no finding; name what it shows.")
    if not any(row[name] for name in form):
        return Annotation(row["finding"], np.zeros(shape, dtype=np.float32), "box", row["reader"], row.source)
    if not all(row[name] for name in form):
        raise DataError(f"{row.source}: give {', '.join(form)} in pixels, or leave all of them empty.")
    left, top, right, bottom = (number(row[name], row.source, name) for name in form)
    if "x" in form:
        right += left
        bottom += top
    return box_annotation(row["finding"], (left, top, right, bottom), shape, overhang, row.source, row["reader"])


def box_annotation(
    finding: str, corners: Sequence[float], shape: tuple[int, ...], overhang: Overhang, source: str, reader: str = ""
) -> Annotation:  # fmt: skip
    """Annotate the share of each pixel (h, w) that a box covers; ``corners`` are left, top, right, bottom in pixels.

    Raises ``DataError`` as ``box_of``.
    """
    left, top, right, bottom = corners
    if not (left < right and top < bottom):
        raise DataError(f"{source}: the box {left:g}, {top:g} – {right:g}, {bottom:g} is empty; correct it.")
    overhang.require((left, top), (right, bottom), shape, source, "box")
    return Annotation(finding, box((top, bottom), (left, right), shape), "box", reader, source)


def corners_of(annotation: Annotation) -> tuple[float, float, float, float] | None:
    """Compute left, top, right, bottom of the box round an annotation (h, w), or None where it is all zero.

    They are exact for a box that covers a whole pixel along each axis.
    """
    edges = []
    for axis in (0, 1):
        covered = np.asarray(annotation.values, dtype=np.float64).max(axis=axis)
        peak = covered.max()
        if not peak:
            return None
        inside = np.flatnonzero(covered)
        share = covered[inside] / peak
        edges.append((float(inside[0] + 1 - share[0]), float(inside[-1] + share[-1])))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom
