"""The XML beside a scan: what four readers marked, and which of their marks are one nodule."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Array

from .outline import enclosed

CHARACTERISTICS = (
    "subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation", "spiculation", "texture",
    "malignancy",
)  # fmt: skip
LARGEST = 4096
RADIOGRAPH = "IdriReadMessage"


@dataclass(frozen=True)
class Outline:
    """One closed edge map (n, 2) of rows and columns on one slice; what an excluded one encloses is no nodule."""

    uid: str
    z: float
    included: bool
    points: Array


@dataclass(frozen=True)
class Mark:
    """What one reader says of one nodule: its outlines and his ratings, 1 to 5 or 6."""

    reader: str
    name: str
    ratings: Mapping[str, int]
    outlines: tuple[Outline, ...]

    @cached_property
    def pixels(self) -> Mapping[str, Array]:
        """The nodule's pixels (n, 2) by the slice's UID; slices without any are left out."""
        found = {}
        for uid in dict.fromkeys(outline.uid for outline in self.outlines):
            parts = [outline for outline in self.outlines if outline.uid == uid]
            kept, cut = (_codes(part for part in parts if part.included is included) for included in (True, False))
            codes = np.setdiff1d(kept, cut)
            if codes.size:
                found[uid] = np.stack(np.divmod(codes, LARGEST), axis=1).astype(np.int16)
        return found

    @property
    def extent(self) -> tuple[Array, Array]:
        """The smallest and the largest row and column of all outlines."""
        points = np.concatenate([outline.points for outline in self.outlines])
        return points.min(axis=0), points.max(axis=0)


@dataclass(frozen=True)
class Markup:
    """What the readers of one scan say: their marks, and the nodules below 3 mm, of which one point is marked."""

    path: Path
    series: str
    readers: tuple[str, ...]
    marks: tuple[Mark, ...]
    small: tuple[Mark, ...]


class _Builder(ElementTree.TreeBuilder):
    """Builds elements, and refuses the declarations by which a small file expands into a huge one."""

    def doctype(self, name: str, *declared: str | None) -> None:
        """Refuse a DOCTYPE."""
        raise DataError("it declares a DOCTYPE, which annotations of LIDC-IDRI do not")


def read_markup(path: Path) -> Markup | None:
    """The readings of a CT scan; None where the XML is of a radiograph. Raises ``DataError`` for anything else."""
    try:
        root = ElementTree.parse(path, ElementTree.XMLParser(target=_Builder())).getroot()
        if root.tag.endswith(RADIOGRAPH):
            return None
        if not root.tag.endswith("LidcReadMessage"):
            raise DataError(f"it is a {root.tag}, not a LidcReadMessage")
        return _markup(path, root)
    except (ElementTree.ParseError, ValueError, OSError, DataError) as error:
        raise DataError(f"{path} cannot be read ({error}); replace it by a fresh copy.") from error


def matched(marks: Sequence[Mark]) -> list[tuple[Mark, ...]]:
    """The marks by nodule, in order of the first: those that share a pixel, directly or by way of others, are one."""
    owners = list(range(len(marks)))
    for second, mark in enumerate(marks):
        for first in range(second):
            if owners[first] != owners[second] and _overlap(marks[first], mark):
                low, high = sorted((owners[first], owners[second]))
                owners = [low if owner == high else owner for owner in owners]
    return [tuple(mark for mark, own in zip(marks, owners) if own == owner) for owner in dict.fromkeys(owners)]


def _markup(path: Path, root: ElementTree.Element) -> Markup:
    series = root.findtext("{*}ResponseHeader/{*}SeriesInstanceUid", "").strip()
    sessions = root.findall("{*}readingSession")
    if not series or not sessions:
        raise DataError(f"it has {'no reading session' if series else 'no SeriesInstanceUid'}")
    readers = tuple(f"reader{number}" for number in range(1, len(sessions) + 1))
    found = [
        _mark(reader, nodule)
        for reader, session in zip(readers, sessions)
        for nodule in session.findall("{*}unblindedReadNodule")
    ]
    small = {id(mark) for mark in found if sum(len(outline.points) for outline in mark.outlines) < 2}
    return Markup(
        path,
        series,
        readers,
        tuple(mark for mark in found if id(mark) not in small),
        tuple(mark for mark in found if id(mark) in small and mark.outlines),
    )


def _mark(reader: str, nodule: ElementTree.Element) -> Mark:
    given = {name: nodule.findtext(f"{{*}}characteristics/{{*}}{name}", "").strip() for name in CHARACTERISTICS}
    ratings = {name: int(value) for name, value in given.items() if value}
    if strange := {name: value for name, value in ratings.items() if not 1 <= value <= 6}:
        raise DataError(f"ratings are 1 to 6, seen: {strange}")
    outlines = tuple(_outline(roi) for roi in nodule.findall("{*}roi") if roi.find("{*}edgeMap") is not None)
    return Mark(reader, nodule.findtext("{*}noduleID", "").strip(), ratings, outlines)


def _outline(roi: ElementTree.Element) -> Outline:
    axes = [
        [int(edge.text or "") for edge in roi.iterfind(f"{{*}}edgeMap/{{*}}{name}")] for name in ("yCoord", "xCoord")
    ]
    if len(axes[0]) != len(axes[1]) or not axes[0]:
        raise DataError(f"an outline has {len(axes[0])} rows and {len(axes[1])} columns")
    points = np.array(axes).T
    if points.min() < 0 or points.max() >= LARGEST:
        raise DataError(f"an outline reaches pixel {points.min()} or {points.max()}; allowed: 0 to {LARGEST - 1}")
    included = roi.findtext("{*}inclusion", "TRUE").strip().upper() != "FALSE"
    uid = roi.findtext("{*}imageSOP_UID", "").strip()
    if not uid:
        raise DataError("an outline names no imageSOP_UID")
    return Outline(uid, float(roi.findtext("{*}imageZposition", "")), included, points.astype(np.int16))


def _codes(outlines: Iterable[Outline]) -> Array:
    """What outlines enclose, each pixel as one number."""
    pixels = [enclosed(outline.points) for outline in outlines]
    return np.unique(np.concatenate([np.empty((0, 2), dtype=int), *pixels]) @ [LARGEST, 1])


def _overlap(one: Mark, other: Mark) -> bool:
    """Whether two marks share a pixel of one slice."""
    (low, high), (other_low, other_high) = one.extent, other.extent
    if (high < other_low).any() or (other_high < low).any():
        return False
    shared = one.pixels.keys() & other.pixels.keys()
    return any(
        np.intersect1d(one.pixels[uid] @ [LARGEST, 1], other.pixels[uid] @ [LARGEST, 1], assume_unique=True).size
        for uid in shared
    )
