"""Reads outlines of findings, and draws them as masks."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.errors import DataError
from heatproof.imaging.outlines import Overhang, add_outline
from heatproof.records import Annotation, Array
from heatproof_cohorts.tables import Row, read_rows

SUFFIXES = (".csv", ".json")
COLUMNS = ("finding", "contour", "x", "y")


@dataclass(frozen=True)
class Contour:
    """The outline of one finding: its corners (n, 2), x before y, in pixels from the upper left corner of the image.

    A contour without corners says that the reader examined the image and the finding is absent.
    """

    finding: str
    reader: str
    points: Array
    source: str


def read_contours(path: Path) -> tuple[Contour, ...]:
    """Read the contours of an image in the order of the file; raises ``DataError`` for a file that cannot be read.

    A table has a row for each corner: finding, contour (any name of the outline), x, y, and, where there are several
    readers, reader. JSON is a list of objects with ``finding``, ``points`` ([[x, y], …]) and optionally ``reader``.
    """
    if path.suffix.lower() == ".json":
        return _from_json(path)
    return _from_table(path)


def _from_table(path: Path) -> tuple[Contour, ...]:
    contours: dict[tuple[str, str, str], list[Row]] = {}
    for row in read_rows(path, COLUMNS, ("reader",)):
        contours.setdefault((row["finding"], row["reader"], row["contour"]), []).append(row)
    return tuple(
        _contour(finding, reader, _corners(rows), rows[0].source) for (finding, reader, _), rows in contours.items()
    )


def _corners(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The corners of a contour as text; none where its only row has no coordinates."""
    corners = [(row["x"], row["y"]) for row in rows]
    if corners == [("", "")]:
        return []
    return corners


def _from_json(path: Path) -> tuple[Contour, ...]:
    try:
        entries = json.loads(path.read_bytes())
        return tuple(
            _contour(entry["finding"], entry.get("reader", ""), entry["points"], f"{path}, contour {number}")
            for number, entry in enumerate(entries, 1)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, KeyError):
            reason = f"an object has no {reason}"
        raise DataError(f"{path} is not a list of objects with finding and points ({reason}); correct it.") from error


def _contour(finding: str, reader: str, corners: Sequence[Any], source: str) -> Contour:
    try:
        points = np.asarray(corners, dtype=np.float64).reshape(len(corners), 2)
    except (ValueError, TypeError):
        raise DataError(f"{source}: a corner is not a pair of numbers; give x and y in pixels.") from None
    if not finding or not np.isfinite(points).all() or len(points) in (1, 2):
        raise DataError(
            f"{source}: a contour needs a finding and three corners or more, all finite; a finding that is absent "
            "needs no corner."
        )
    return Contour(str(finding), str(reader), points, source)


def contour_masks(
    contours: Iterable[Contour], shape: tuple[int, ...], source: str, overhang: Overhang | None = None
) -> list[Annotation]:  # fmt: skip
    """Draw a mask (h, w) float32 for each finding and reader: the share of each pixel that its contours enclose.

    Raises ``DataError`` for a contour that leaves the image farther than ``overhang`` allows, or encloses no area.
    """
    overhang = overhang or Overhang()
    masks: dict[tuple[str, str], Array] = {}
    for contour in contours:
        mask = masks.setdefault((contour.finding, contour.reader), np.zeros(shape, dtype=np.float32))
        if len(contour.points):
            overhang.require(*_bounds(contour), shape, contour.source, "contour")
            add_outline(contour.points, mask, contour.source)
    return [Annotation(finding, mask, "mask", reader, source) for (finding, reader), mask in masks.items()]


def _bounds(contour: Contour) -> tuple[list[float], list[float]]:
    """The least and the largest x and y of a contour."""
    return contour.points.min(axis=0).tolist(), contour.points.max(axis=0).tolist()
