"""Reads outlines of findings and computes the area that an outline or a box covers in each pixel."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Annotation, Array
from heatproof_cohorts.tables import Row, read_rows

SUFFIXES = (".csv", ".json")
COLUMNS = ("finding", "contour", "x", "y")


@dataclass
class Overhang:
    """How far boxes and contours may reach beyond the image, in pixels; what they lose there is counted.

    ``clipped`` holds a sentence for each that does, by its source.
    """

    limit: float = 0.5
    clipped: dict[str, str] = field(default_factory=dict)

    def require(
        self, low: Sequence[float], high: Sequence[float], shape: tuple[int, ...], source: str, name: str
    ) -> None:  # fmt: skip
        """Count an outline from ``low`` to ``high`` (x, y) that leaves the image (h, w).

        Raises ``DataError`` where it is farther out than allowed, or wholly outside.
        """
        height, width = shape
        beyond = max(-low[0], -low[1], high[0] - width, high[1] - height)
        inside = min(high) > 0 and low[0] < width and low[1] < height
        if beyond > self.limit or not inside:
            raise DataError(
                f"{source}: the {name} leaves the image of {height} × {width} pixels by {beyond:g} pixels; correct it, "
                f"or set overhang (now {self.limit:g}) to the pixels that may be cut off."
            )
        if beyond > 0:
            self.clipped[source] = f"{source}: the {name} leaves the image by {beyond:g} pixels"


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
            _add(contour, mask)
    return [Annotation(finding, mask, "mask", reader, source) for (finding, reader), mask in masks.items()]


def _add(contour: Contour, mask: Array) -> None:
    left, top = np.floor(contour.points.min(axis=0)).astype(int)
    share = enclosed_area(contour.points - (left, top))[max(0, -top) :, max(0, -left) :]
    left, top = np.maximum((left, top), 0)
    share = share[: mask.shape[0] - top, : mask.shape[1] - left]
    if not share.any():
        raise DataError(f"{contour.source}: the contour encloses no area; delete it, or draw it again.")
    part = mask[top : top + share.shape[0], left : left + share.shape[1]]
    np.minimum(part + share, 1, out=part)


def _bounds(contour: Contour) -> tuple[list[float], list[float]]:
    """The least and the largest x and y of a contour."""
    return contour.points.min(axis=0).tolist(), contour.points.max(axis=0).tolist()


def enclosed_area(points: Array) -> Array:
    """Compute the share (h, w) float32 of each pixel that an outline encloses, on the smallest grid that holds it.

    ``points`` (n, 2) are its corners, x before y. Matplotlib's renderer Agg computes the area, exact to 1 / 256 of a
    pixel. An outline that crosses itself encloses every point that it winds round.
    """
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.path import Path as Outline
    from matplotlib.transforms import Affine2D

    width, height = (max(1, int(end)) for end in np.ceil(points.max(axis=0)))
    renderer: Any = RendererAgg(width, height, 72)  # type: ignore[no-untyped-call]
    pen = renderer.new_gc()
    pen.set_linewidth(0)
    pen.set_snap(False)
    upwards = Affine2D().scale(1, -1).translate(0, height)
    renderer.draw_path(pen, Outline(np.vstack([points, points[:1]]), closed=True), upwards, (0, 0, 0, 1))
    levels = np.asarray(renderer.buffer_rgba())[..., 3]
    # Agg counts the area in 256ths of a pixel, but its level 255 stands for the whole pixel.
    return np.where(levels == 255, np.float32(1), levels / np.float32(256))


def box(rows: tuple[float, float], columns: tuple[float, float], shape: tuple[int, ...]) -> Array:
    """Compute the share of each pixel (h, w) that a box between continuous indices covers.

    >>> box((0.5, 2), (1, 2), (3, 2)).tolist()
    [[0.0, 0.5], [0.0, 1.0], [0.0, 0.0]]
    """
    covered = [
        np.clip(np.minimum(high, np.arange(length) + 1) - np.maximum(low, np.arange(length)), 0, 1)
        for (low, high), length in zip((rows, columns), shape)
    ]
    return np.asarray(np.outer(*covered), dtype=np.float32)
