"""Finds the files of CheXlocalize and reads its outlines and points."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Annotation, Array
from heatproof_cohorts.json_files import read_object
from heatproof_cohorts.run_lengths import mask_of

from .findings import OUTLINED

IMAGES = ("CheXpert", ".")
OUTLINES = ("CheXlocalize", ".")
PARTS = {"tuning": ("val", "valid"), "test": ("test",)}
"""Split → the names of its folder, of which the first is the published one."""
TABLES = {"tuning": ("val_labels.csv", "valid.csv"), "test": ("test_labels.csv", "test.csv")}
PREFIXES = {"ground_truth": "gt", "benchmark": "hb"}
"""Reader → how the names of its files begin."""
MASKS = "segmentations"
POINTS = "salient_pt"


def present(root: Path, folders: tuple[str, ...], names: tuple[str, ...]) -> Path:
    """Find the first of these files or folders that exists; the published one where none does."""
    paths = [root / folder / name for folder in folders for name in names]
    return next(filter(Path.exists, paths), paths[0])


def table_path(root: Path, split: str) -> Path:
    """The table of labels of a split."""
    return present(root, IMAGES, TABLES[split])


def image_folder(root: Path, split: str) -> Path:
    """The folder that holds the patients of a split."""
    return present(root, IMAGES, PARTS[split])


@dataclass(frozen=True)
class Outlines:
    """What one reader outlined in one split, or where this reader's most representative points lie: a JSON file."""

    path: Path
    reader: str

    @classmethod
    def of(cls, root: Path, split: str, reader: str, kind: str = MASKS) -> "Outlines":
        """The file of a split and reader; ``kind`` is that of the masks or of the points."""
        name = f"{PREFIXES[reader]}_{kind}_{PARTS[split][0]}.json"
        return cls(present(root, OUTLINES, (name,)), reader)

    @cached_property
    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        """Image → name of a finding → its mask or points; raises ``DataError`` for a file that cannot be read."""
        entries = read_object(self.path)
        for id, entry in entries.items():
            if not isinstance(entry, dict):
                raise DataError(f"{self.path}: {id} holds no findings but {str(entry)[:60]!r}; restore the file.")
        return entries

    def annotations(self, id: str, shape: tuple[int, ...]) -> Iterator[Annotation]:
        """Decode the masks of an image (h, w); raises ``DataError`` naming a mask that is damaged or does not fit."""
        entry = self.entries[id]
        for finding, name in OUTLINED.items():
            if name in entry:
                mask = mask_of(entry[name], shape, f"{self.path}, {id}, {name}")
                yield Annotation(finding, mask, "mask", self.reader, str(self.path))

    def pixels(self, id: str, shape: tuple[int, ...]) -> Iterator[Annotation]:
        """The points of an image as masks (h, w) of the pixels in which they lie; raises the errors of ``points``."""
        points = self.points(id, shape)
        for finding in OUTLINED:
            mask = np.zeros(shape, dtype=bool)
            rows, columns = points["points"][points["point_findings"] == finding].astype(int).T
            mask[rows, columns] = True
            yield Annotation(finding, mask, "mask", self.reader, str(self.path))

    def points(self, id: str, shape: tuple[int, ...]) -> dict[str, Array]:
        """The points (n, 2) of an image, rows before columns, in continuous native indices, and their findings (n,).

        Raises ``DataError`` for a point that is no pair of numbers or lies beside the image.
        """
        findings: list[str] = []
        points: list[tuple[float, float]] = []
        for finding, name in OUTLINED.items():
            source = f"{self.path}, {id}, {name}"
            values = self.entries.get(id, {}).get(name, [])
            if not isinstance(values, list):
                raise DataError(f"{source}: {str(values)[:60]!r} is not a list of points; restore the file.")
            findings += [finding] * len(values)
            points += [_point(value, shape, source) for value in values]
        positions = np.array(points, dtype=np.float64).reshape(-1, 2)
        return {"points": positions, "point_findings": np.array(findings, dtype=str)}

    def beyond(self, ids: Set[str]) -> list[str]:
        """List the images of the file that are not among these."""
        return [f"{self.path}: {id}" for id in self.entries if id not in ids]

    def unknown(self) -> list[str]:
        """List the findings of the file that CheXlocalize does not have."""
        known = {*OUTLINED.values(), "img_size"}
        names = ((id, name) for id, entry in self.entries.items() for name in entry)
        return [f"{self.path}, {id}: {name!r}" for id, name in names if name not in known]

    def incomplete(self) -> list[str]:
        """List the findings that an image of the file lacks; the published files have all ten of each image."""
        names = ((id, name) for id in self.entries for name in OUTLINED.values())
        return [f"{self.path}, {id}: no {name}" for id, name in names if name not in self.entries[id]]


def _point(point: Any, shape: tuple[int, ...], source: str) -> tuple[float, float]:
    """A point (x, y) of the file as row and column."""
    try:
        column, row = map(float, point)
    except (TypeError, ValueError):
        raise DataError(f"{source}: {str(point)[:60]!r} is not a point; give x and y in pixels.") from None
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        raise DataError(f"{source}: the point {column:g}, {row:g} lies beside its image of {shape} pixels; correct it.")
    return row, column
