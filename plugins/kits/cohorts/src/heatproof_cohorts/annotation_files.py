"""What marks the images of a folder: masks and densities as images of one name, contours, and boxes in a table."""

from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from typing_extensions import TypeVar

from heatproof.digests import digest
from heatproof.errors import DataError
from heatproof.imaging.images import read_image, read_mask
from heatproof.records import Annotation, Array, Sample
from heatproof_cohorts.contours import SUFFIXES, Contour, box, drawn, read_contours
from heatproof_cohorts.folders import DividedParams, image_paths
from heatproof_cohorts.image_files import write_image, write_mask
from heatproof_cohorts.manifest import ListedDataset
from heatproof_cohorts.tables import Row, read_rows, write_table

MASKS, DENSITIES, CONTOURS, BOXES = "masks", "densities", "contours", "boxes.csv"
CORNERS = ("x1", "y1", "x2", "y2")


class MarkedParams(DividedParams):
    """What holds where a finding that is outlined elsewhere is not in an image; densities are never absent."""

    unmarked: Literal["unexamined", "absent"] = "unexamined"


P = TypeVar("P", bound=MarkedParams, default=MarkedParams, covariant=True)


class MarkedDataset(ListedDataset[P]):
    """Images of a folder that holds their marks too. A subclass gives ``listed``."""

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """The findings that anything marks, by name."""
        return self.found.findings

    @cached_property
    def found(self) -> "Marks":
        """The marks below root."""
        return Marks(self.params.root, self.params.unmarked == "absent")

    def content(self) -> str:
        """The digest of the files, and of classes and findings, which empty folders name too."""
        return digest([super().content(), self.classes, self.findings])

    def marks(self) -> Iterable[Path]:
        """The masks, densities and contours of listed images."""
        return [path for id in self.listing.entries for path in self.found.files(id)]

    def annotations(self, id: str, shape: tuple[int, ...]) -> tuple[Annotation, ...]:
        """Masks, densities, contours and, one by one, boxes; raises ``DataError`` where one does not fit."""
        return self.found.of(id, self.entry(id).path.relative_to(self.params.root).as_posix(), shape)


class Marks:
    """The marks below ``root``; ``absent`` says that a finding without a mark was looked for and is not there."""

    def __init__(self, root: Path, absent: bool):
        self.root = root
        self.absent = absent

    @cached_property
    def folders(self) -> list[tuple[str, Path]]:
        """The folders of findings: each with its kind, ``mask`` or ``density``."""
        kinds = (("mask", MASKS), ("density", DENSITIES))
        return [(kind, path) for kind, name in kinds for path in sorted((self.root / name).glob("*/")) if path.is_dir()]

    @cached_property
    def boxes(self) -> Mapping[str, list[Row]]:
        """The rows of the table of boxes, by file."""
        path = self.root / BOXES
        if not path.is_file():
            return {}
        boxes: dict[str, list[Row]] = {}
        for row in read_rows(path, ("file", "finding", *CORNERS)):
            boxes.setdefault(row["file"], []).append(row)
        return boxes

    @cached_property
    def contours(self) -> Mapping[str, tuple[Contour, ...] | DataError]:
        """The contours by sample, or what is wrong with its file, which is raised for that sample alone."""
        return {id: _contours(paths) for id, paths in self._outlines.items()}

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """All findings that are marked, by name."""
        return tuple(sorted(self.outlined | {path.name for _, path in self.folders}))

    @cached_property
    def outlined(self) -> frozenset[str]:
        """The findings that masks, boxes or contours mark."""
        drawn = [contours for contours in self.contours.values() if not isinstance(contours, DataError)]
        return frozenset(
            {path.name for kind, path in self.folders if kind == "mask"}
            | {row["finding"] for rows in self.boxes.values() for row in rows}
            | {contour.finding for contours in drawn for contour in contours}
        )

    @cached_property
    def drawings(self) -> Mapping[tuple[Path, str], Sequence[Path]]:
        """The masks and densities by folder and sample."""
        found: dict[tuple[Path, str], list[Path]] = {}
        for _, folder in self.folders:
            for path in image_paths(folder):
                found.setdefault((folder, _name(path, folder)), []).append(path)
        return found

    @cached_property
    def _outlines(self) -> Mapping[str, Sequence[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted((self.root / CONTOURS).rglob("*")):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                found.setdefault(_name(path, self.root / CONTOURS), []).append(path)
        return found

    def files(self, id: str) -> list[Path]:
        """The masks, densities and contours of a sample."""
        drawings = [path for _, folder in self.folders for path in self.drawings.get((folder, id), ())]
        return [*drawings, *self._outlines.get(id, ())]

    def stray(self, ids: Set[str], files: Set[str]) -> dict[str, list[str]]:
        """The masks, densities, contours and boxes that belong to none of these samples and their files."""
        drawings = [(id, path) for (_, id), paths in self.drawings.items() for path in paths]
        outlines = [(id, path) for id, paths in self._outlines.items() for path in paths]
        rows = [row.source for file, own in self.boxes.items() if file not in files for row in own]
        return {
            "masks without an image": [str(path) for id, path in drawings if id not in ids],
            "contours without an image": [str(path) for id, path in outlines if id not in ids],
            "boxes without an image": rows,
        }

    def of(self, id: str, file: str, shape: tuple[int, ...]) -> tuple[Annotation, ...]:
        """The annotations of a sample; raises ``DataError`` where one does not fit its image (h, w)."""
        marks = [
            _drawn(kind, folder.name, _single(self.drawings[folder, id]), shape)
            for kind, folder in self.folders
            if (folder, id) in self.drawings
        ]
        marks += self._contoured(id, shape)
        marks += [_boxed(row, shape) for row in self.boxes.get(file, ())]
        marked = {mark.finding for mark in marks}
        unmarked = sorted(self.outlined - marked) if self.absent else []
        return (*marks, *(Annotation(name, np.zeros(shape, dtype=bool)) for name in unmarked))

    def _contoured(self, id: str, shape: tuple[int, ...]) -> list[Annotation]:
        contours = self.contours.get(id, ())
        if isinstance(contours, DataError):
            raise contours
        return drawn(contours, shape, str(self._outlines[id][0])) if contours else []


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _contours(paths: Sequence[Path]) -> tuple[Contour, ...] | DataError:
    try:
        return read_contours(_single(paths))
    except DataError as error:
        return error


def _single(paths: Sequence[Path]) -> Path:
    if len(paths) > 1:
        raise DataError(f"{paths[0]} and {paths[1]} mark the same finding of one image; keep one of them.")
    return paths[0]


def _drawn(kind: str, finding: str, path: Path, shape: tuple[int, ...]) -> Annotation:
    values = read_mask(path) if kind == "mask" else _density(path)
    if values.shape != shape:
        raise DataError(f"{path} has {values.shape} pixels, its image {shape}; draw it on the image's own grid.")
    return Annotation(finding, values, "mask" if kind == "mask" else "density", source=str(path))


def _density(path: Path) -> Array:
    """A density (h, w) float32: the mean over channels as a share of white."""
    image = read_image(path)[0]
    return np.asarray(image.mean(axis=0, dtype=np.float32) / np.float32(np.iinfo(image.dtype).max))


def _boxed(row: Row, shape: tuple[int, ...]) -> Annotation:
    """The share of each pixel that a box covers; all zero where the row has no corners."""
    if not any(row[corner] for corner in CORNERS):
        return Annotation(row["finding"], np.zeros(shape, dtype=np.float32), "box", source=row.source)
    try:
        x1, y1, x2, y2 = (float(row[corner]) for corner in CORNERS)
    except ValueError:
        raise DataError(f"{row.source}: a corner is no number; give x1, y1, x2, y2 in pixels, or none.") from None
    if not (0 <= x1 < x2 <= shape[1] and 0 <= y1 < y2 <= shape[0]):
        raise DataError(f"{row.source}: box {x1:g}, {y1:g} – {x2:g}, {y2:g} leaves the image {shape}, or is empty.")
    return Annotation(row["finding"], box((y1, y2), (x1, x2), shape), "box", source=row.source)


class MarkedFolder:
    """A folder to which images are written as PNG, each with its masks, densities and boxes."""

    def __init__(self, root: Path):
        self.root = root
        self._boxes: list[tuple[str, ...]] = []

    def add(self, sample: Sample, name: str) -> str:
        """Write a sample's image, its masks (their union over readers) and its densities; the image's file."""
        file = f"images/{name}.png"
        write_image(sample.image, self.root / file)
        for finding in sample.findings():
            _write_marks([mark for mark in sample.annotations if mark.finding == finding], name, self.root)
        self._boxes += [_box_row(mark, file) for mark in sample.annotations if mark.kind == "box"]
        return file

    def close(self) -> None:
        """Write the table of boxes, if there are any."""
        if self._boxes:
            write_table(self.root / BOXES, ("file", "finding", *CORNERS), self._boxes)


def _write_marks(marks: Sequence[Annotation], name: str, root: Path) -> None:
    """Write what readers marked of one finding; densities keep 16 bits of their largest value."""
    masks = [np.asarray(mark.values) for mark in marks if mark.kind == "mask"]
    densities = [np.asarray(mark.values) for mark in marks if mark.kind == "density"]
    if masks:
        write_mask(np.maximum.reduce(masks), root / MASKS / marks[0].finding / f"{name}.tif")
    if densities:
        mean = np.mean(densities, axis=0)
        scaled = np.rint(mean * (65535 / (mean.max() or 1.0)))
        write_image(scaled[None].astype(np.uint16), root / DENSITIES / marks[0].finding / f"{name}.png")


def _box_row(mark: Annotation, file: str) -> tuple[str, ...]:
    """A box as a row of the table; its corners are exact where it covers a whole pixel along each axis."""
    ends = []
    for axis in (0, 1):
        covered = np.asarray(mark.values, dtype=np.float64).max(axis=axis)
        peak = covered.max()
        if not peak:
            return (file, mark.finding, "", "", "", "")
        inside = np.flatnonzero(covered)
        share = covered[inside] / peak
        ends.append((inside[0] + 1 - share[0], inside[-1] + share[-1]))
    (left, right), (top, bottom) = ends
    return (file, mark.finding, *(f"{value:.6f}".rstrip("0").rstrip(".") for value in (left, top, right, bottom)))
