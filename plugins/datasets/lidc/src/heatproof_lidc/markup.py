"""The XML of a scan: the readings of up to four readers, and the grouping of readings into nodules."""

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
"""Most rows or columns of a slice."""
RADIOGRAPH = "IdriReadMessage"


@dataclass(frozen=True)
class Outline:
    """One closed edge map (n, 2) of rows and columns on one slice.

    An outline that is not ``included`` encloses a hole of the nodule.
    """

    uid: str
    z: float
    included: bool
    points: Array


@dataclass(frozen=True)
class Reading:
    """One nodule as one reader sees it: outlines, and ratings from 1 to 5 or 6."""

    reader: str
    name: str
    ratings: Mapping[str, int]
    outlines: tuple[Outline, ...]

    @cached_property
    def pixels(self) -> Mapping[str, Array]:
        """The pixels (n, 2) of the nodule by UID of the slice; slices without pixels are omitted."""
        pixels = {}
        for uid in dict.fromkeys(outline.uid for outline in self.outlines):
            parts = [outline for outline in self.outlines if outline.uid == uid]
            included = _codes(part for part in parts if part.included)
            excluded = _codes(part for part in parts if not part.included)
            codes = np.setdiff1d(included, excluded)
            if codes.size:
                pixels[uid] = np.stack(np.divmod(codes, LARGEST), axis=1).astype(np.int16)
        return pixels

    @property
    def extent(self) -> tuple[Array, Array]:
        """The smallest and the largest row and column of all outlines."""
        points = np.concatenate([outline.points for outline in self.outlines])
        return points.min(axis=0), points.max(axis=0)


@dataclass(frozen=True)
class Markup:
    """All readings of one scan; those of nodules below 3 mm, each a single point, are ``small``."""

    path: Path
    series: str
    readers: tuple[str, ...]
    readings: tuple[Reading, ...]
    small: tuple[Reading, ...]


class _Builder(ElementTree.TreeBuilder):
    """Builds elements; refuses a DOCTYPE, with which a small file could expand into a huge one."""

    def doctype(self, name: str, *declaration: str | None) -> None:
        """Raise ``DataError``."""
        raise DataError("it declares a DOCTYPE, which no file of LIDC-IDRI does")


def read_markup(path: Path) -> Markup | None:
    """Read the XML of a CT scan; return None for that of a radiograph, and raise ``DataError`` for other files."""
    try:
        root = ElementTree.parse(path, ElementTree.XMLParser(target=_Builder())).getroot()
        if root.tag.endswith(RADIOGRAPH):
            return None
        if not root.tag.endswith("LidcReadMessage"):
            raise DataError(f"it is a {root.tag}, not a LidcReadMessage")
        return _markup(path, root)
    except (ElementTree.ParseError, ValueError, OSError, DataError) as error:
        raise DataError(f"{path} cannot be read ({error}); replace it by a fresh copy.") from error


def matched(readings: Sequence[Reading]) -> list[tuple[Reading, ...]]:
    """Group readings into nodules, in order of their first reading.

    Readings that share a pixel, directly or through other readings, are of one nodule.
    """
    numbers = list(range(len(readings)))
    for second, reading in enumerate(readings):
        for first in range(second):
            if numbers[first] != numbers[second] and _overlap(readings[first], reading):
                low, high = sorted((numbers[first], numbers[second]))
                numbers = [low if number == high else number for number in numbers]
    nodules: dict[int, list[Reading]] = {}
    for number, reading in zip(numbers, readings):
        nodules.setdefault(number, []).append(reading)
    return [tuple(nodule) for nodule in nodules.values()]


def _markup(path: Path, root: ElementTree.Element) -> Markup:
    series = root.findtext("{*}ResponseHeader/{*}SeriesInstanceUid", "").strip()
    sessions = root.findall("{*}readingSession")
    if not series:
        raise DataError("it has no SeriesInstanceUid")
    if not sessions:
        raise DataError("it has no reading session")
    readers = tuple(f"reader{number}" for number in range(1, len(sessions) + 1))
    large = []
    small = []
    for reader, session in zip(readers, sessions):
        for nodule in session.findall("{*}unblindedReadNodule"):
            reading = _reading(reader, nodule)
            if sum(len(outline.points) for outline in reading.outlines) > 1:
                large.append(reading)
            elif reading.outlines:
                small.append(reading)
    return Markup(path, series, readers, tuple(large), tuple(small))


def _reading(reader: str, nodule: ElementTree.Element) -> Reading:
    texts = {name: nodule.findtext(f"{{*}}characteristics/{{*}}{name}", "").strip() for name in CHARACTERISTICS}
    ratings = {name: int(text) for name, text in texts.items() if text}
    invalid = {name: value for name, value in ratings.items() if not 1 <= value <= 6}
    if invalid:
        raise DataError(f"ratings must be 1 to 6 (got {invalid})")
    outlines = tuple(_outline(roi) for roi in nodule.findall("{*}roi") if roi.find("{*}edgeMap") is not None)
    return Reading(reader, nodule.findtext("{*}noduleID", "").strip(), ratings, outlines)


def _outline(roi: ElementTree.Element) -> Outline:
    rows = [int(edge.text or "") for edge in roi.iterfind("{*}edgeMap/{*}yCoord")]
    columns = [int(edge.text or "") for edge in roi.iterfind("{*}edgeMap/{*}xCoord")]
    if len(rows) != len(columns) or not rows:
        raise DataError(f"an outline has {len(rows)} rows and {len(columns)} columns")
    points = np.array([rows, columns]).T
    if points.min() < 0 or points.max() >= LARGEST:
        raise DataError(f"an outline reaches pixel {points.min()} or {points.max()}; allowed: 0 to {LARGEST - 1}")
    included = roi.findtext("{*}inclusion", "TRUE").strip().upper() != "FALSE"
    uid = roi.findtext("{*}imageSOP_UID", "").strip()
    if not uid:
        raise DataError("an outline names no imageSOP_UID")
    return Outline(uid, float(roi.findtext("{*}imageZposition", "")), included, points.astype(np.int16))


def _codes(outlines: Iterable[Outline]) -> Array:
    """The pixels that outlines enclose, each as one number: row × ``LARGEST`` + column."""
    pixels = [enclosed(outline.points) for outline in outlines]
    return np.unique(np.concatenate([np.empty((0, 2), dtype=int), *pixels]) @ [LARGEST, 1])


def _overlap(left: Reading, right: Reading) -> bool:
    """Whether two readings share a pixel of one slice."""
    left_low, left_high = left.extent
    right_low, right_high = right.extent
    if (left_high < right_low).any() or (right_high < left_low).any():
        return False
    for uid in left.pixels.keys() & right.pixels.keys():
        left_codes = left.pixels[uid] @ [LARGEST, 1]
        right_codes = right.pixels[uid] @ [LARGEST, 1]
        if np.intersect1d(left_codes, right_codes, assume_unique=True).size:
            return True
    return False
