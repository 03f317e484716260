"""What marks the pictures of a folder: masks and densities as pictures of one name, boxes in a table."""

from collections.abc import Mapping, Set
from functools import cached_property
from pathlib import Path

import numpy as np

from salix.errors import DataError
from salix.images import LOSSLESS, LOSSY, read_image, read_mask, write_image, write_mask
from salix.records import Annotation, Array, Sample
from salix.tabular import Row, read_table

MASKS, DENSITIES, BOXES = "masks", "densities", "boxes.csv"
CORNERS = ("x1", "y1", "x2", "y2")


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
        table = read_table(path, ("file", "finding", *CORNERS))
        if table.faults:
            raise DataError(table.faults[0])
        boxes: dict[str, list[Row]] = {}
        for row in table.rows:
            boxes.setdefault(row["file"], []).append(row)
        return boxes

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """All findings that are marked, by name."""
        return tuple(
            sorted(
                {path.name for _, path in self.folders}
                | {row["finding"] for rows in self.boxes.values() for row in rows}
            )
        )

    @cached_property
    def pictures(self) -> Mapping[tuple[Path, str], Path]:
        """The masks and densities by folder and sample."""
        return {
            (folder, path.relative_to(folder).with_suffix("").as_posix()): path
            for _, folder in self.folders
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in LOSSLESS + LOSSY
        }

    def files(self, id: str) -> list[Path]:
        """The masks and densities of a sample."""
        return [self.pictures[folder, id] for _, folder in self.folders if (folder, id) in self.pictures]

    def stray(self, ids: Set[str], files: Set[str]) -> dict[str, list[str]]:
        """The masks, densities and boxes that belong to none of these samples and their files."""
        return {
            "masks without a picture": [str(path) for (_, id), path in self.pictures.items() if id not in ids],
            "boxes without a picture": [
                row.place for file, rows in self.boxes.items() if file not in files for row in rows
            ],
        }

    def of(self, id: str, file: str, shape: tuple[int, ...]) -> tuple[Annotation, ...]:
        """The annotations of a sample; raises ``DataError`` where one does not fit its picture (h, w)."""
        marks = [
            _drawn(kind, folder.name, self.pictures[folder, id], shape)
            for kind, folder in self.folders
            if (folder, id) in self.pictures
        ]
        marks += [_boxed(row, shape) for row in self.boxes.get(file, ())]
        marked = {mark.finding for mark in marks}
        unmarked = [name for name in self.findings if self.absent and name not in marked]
        return (*marks, *(Annotation(name, np.zeros(shape, dtype=bool)) for name in unmarked))


def _drawn(kind: str, finding: str, path: Path, shape: tuple[int, ...]) -> Annotation:
    values = read_mask(path) if kind == "mask" else _density(path)
    if values.shape != shape:
        raise DataError(f"{path} has {values.shape} pixels, its picture {shape}; draw it on the picture's own grid.")
    return Annotation(finding, values, "mask" if kind == "mask" else "density", source=str(path))


def _density(path: Path) -> Array:
    """A density (h, w) float32: the mean over channels as a share of white."""
    image = read_image(path)[0]
    return np.asarray(image.mean(axis=0, dtype=np.float32) / np.float32(np.iinfo(image.dtype).max))


def _boxed(row: Row, shape: tuple[int, ...]) -> Annotation:
    """The share of each pixel that a box covers; all zero where the row has no corners."""
    if not any(row[corner] for corner in CORNERS):
        return Annotation(row["finding"], np.zeros(shape, dtype=np.float32), "box", source=row.place)
    try:
        x1, y1, x2, y2 = (float(row[corner]) for corner in CORNERS)
    except ValueError:
        raise DataError(f"{row.place}: a corner is no number; give x1, y1, x2, y2 in pixels, or none.") from None
    if not (0 <= x1 < x2 <= shape[1] and 0 <= y1 < y2 <= shape[0]):
        raise DataError(f"{row.place}: box {x1:g}, {y1:g} – {x2:g}, {y2:g} leaves the picture {shape}, or is empty.")
    values = np.outer(_covered(y1, y2, shape[0]), _covered(x1, x2, shape[1])).astype(np.float32)
    return Annotation(row["finding"], values, "box", source=row.place)


def _covered(low: float, high: float, length: int) -> Array:
    """The share of each pixel along one axis that lies between two places."""
    pixels = np.arange(length)
    return np.asarray(np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, 1))


def write_marks(sample: Sample, name: str, root: Path) -> None:
    """Write a sample's masks, their union over readers, and its densities as pictures of its name."""
    for finding in sample.findings():
        marks = [mark for mark in sample.annotations if mark.finding == finding]
        masks = [np.asarray(mark.values) for mark in marks if mark.kind == "mask"]
        densities = [np.asarray(mark.values) for mark in marks if mark.kind == "density"]
        if masks:
            write_mask(np.maximum.reduce(masks), root / MASKS / finding / f"{name}.tif")
        if densities:
            mean = np.mean(densities, axis=0)
            scaled = np.rint(mean * (65535 / (mean.max() or 1.0)))
            write_image(scaled[None].astype(np.uint16), root / DENSITIES / finding / f"{name}.png")


def box_row(mark: Annotation, file: str) -> tuple[str, ...]:
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
