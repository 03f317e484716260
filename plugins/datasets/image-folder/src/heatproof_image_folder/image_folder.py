"""Anybody's own images: class folders or a table, with masks, boxes and densities of findings."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from heatproof.errors import DataError
from heatproof.records import Label, Sample
from heatproof_cohorts.annotation_files import (
    BOXES,
    CONTOURS,
    DENSITIES,
    MASKS,
    MarkedDataset,
    MarkedFolder,
    MarkedParams,
)
from heatproof_cohorts.folders import image_paths
from heatproof_cohorts.manifest import ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, patient_in
from heatproof_cohorts.tables import Row, Table, plain_name, read_table, write_table

COLUMNS = ("file", "label", "patient", "split", "id")
PARTS = {"train": "train", "training": "train", "tuning": "tuning", "validation": "tuning", "valid": "tuning"}
PARTS |= {"val": "tuning", "dev": "tuning", "test": "test", "testing": "test"}
BETWEEN = re.compile(r"[|;]")


class ImageFolderParams(MarkedParams):
    """Which table to read, which classes there are, and what holds where files say nothing."""

    table: str = "samples.csv"
    classes: tuple[str, ...] = ()


class ImageFolder(MarkedDataset[ImageFolderParams]):
    """Images of one's own: ``samples.csv`` with columns file, label, patient, split, id, or else class folders.

    Only ``file`` is required; several labels are parted by ``|``. Without a table the folders under root are classes,
    or splits (train, val, test) that hold classes. ``masks/FINDING/`` and ``densities/FINDING/`` hold an image of the
    id's name for each sample, ``contours/`` a table or JSON; ``boxes.csv`` has columns file, finding, x1, y1, x2, y2
    (empty: looked for and absent). Where no split is given for any sample, patients are divided by name and seed.
    """

    splits = SPLITS
    tuning = "tuning"
    obtain = "put the file there, or take its row out of the table"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order given, or all that there are by name."""
        return self.params.classes or tuple(sorted({name for row in self._candidates for name in _names(row["label"])}))

    @cached_property
    def _table(self) -> Table:
        path = self.params.root / self.params.table
        if path.is_file() or self.params.table != ImageFolderParams.model_fields["table"].default:
            return read_table(path, COLUMNS[:1], COLUMNS[1:])
        return Table(tuple(_rows(self.params.root)), (), "utf-8")

    @cached_property
    def _divided(self) -> bool:
        return any(row["split"] for row in self._table.rows)

    @cached_property
    def _candidates(self) -> list[Row]:
        """The rows that name an image below root, a known class, and a known split."""
        return [row for row in self._table.rows if not self._problem(row)]

    def _problem(self, row: Row) -> str:
        """What is wrong with a row, empty where nothing is."""
        if not row["file"] or Path(row["file"]).is_absolute() or ".." in Path(row["file"]).parts:
            return f"file {row['file']!r} is not a path below {self.params.root}"
        if self._divided and plain_name(row["split"]) not in PARTS:
            return f"split {row['split']!r} is not one of {', '.join(PARTS)}"
        unknown = [name for name in _names(row["label"]) if self.params.classes and name not in self.params.classes]
        return f"label {unknown[0]!r} is not among the classes given" if unknown else ""

    def listed(self) -> Listing:
        """The rows of the table, or the files in class folders; raises ``DataError`` where there are neither."""
        if not self._table.rows:
            raise DataError(
                f"{self.params.root} holds no images in class folders and no {self.params.table} with a row; "
                "give one of them."
            )
        entries, faults = gathered(self._entries(self._candidates))
        problems = [f"{row.source}: {problem}" for row in self._table.rows if (problem := self._problem(row))]
        faults["rows that cannot be used"] = [*self._table.faults, *problems]
        files = {entry.path.relative_to(self.params.root).as_posix() for entry in entries.values()}
        stray = self.annotation_files.stray(set(entries), files)
        tables = [path for path in (self.params.root / self.params.table, self.params.root / BOXES) if path.is_file()]
        return Listing(entries, {**faults, **stray}, tables=tables)

    def _entries(self, rows: Iterable[Row]) -> Iterator[tuple[str, ListedSample]]:
        for row in rows:
            path = Path(row["file"])
            id, patient = row["id"] or path.with_suffix("").as_posix(), row["patient"]
            patient = patient or patient_in(path.stem, self.params.patient)
            split = PARTS[plain_name(row["split"])] if self._divided else self.params.split_of(patient or id)
            yield id, ListedSample(self.params.root / path, split, self._label(row["label"]), patient, row.source)

    def _label(self, text: str) -> Label:
        labels = tuple(dict.fromkeys(self.classes.index(name) for name in _names(text)))
        return labels if len(labels) > 1 else (labels[0] if labels else None)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples under an empty folder as PNG, with a table and their masks, densities and boxes; how many.

        Class ``n`` is written as its name where this dataset has one, else as ``class_n``; ``extras["split"]`` names
        the split. Densities keep 16 bits of their largest value; contours become masks.
        """
        require_new(root)
        folder, rows = MarkedFolder(root), []
        for sample in samples:
            name = self.name_to_write(sample)
            labels = sample.label if isinstance(sample.label, tuple) else (sample.label,)
            written = "|".join(self._written_class(label) for label in labels if label is not None)
            split = self.split_to_write(sample) if "split" in sample.extras else ""
            rows.append((folder.add(sample, name), written, sample.patient, split, name))
        write_table(root / self.params.table, COLUMNS, rows)
        folder.close()
        return len(rows)

    def _written_class(self, label: int) -> str:
        return self.params.classes[label] if label < len(self.params.classes) else f"class_{label}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in BETWEEN.split(text) if name.strip()]


def _rows(root: Path) -> Iterator[Row]:
    """A row for each image in a class folder, or in a class folder within the folder of a split."""
    marks = (MASKS, DENSITIES, CONTOURS)
    folders = [path for path in sorted(root.glob("*/")) if path.name not in marks and path.is_dir()]
    divided = bool(folders) and all(plain_name(path.name) in PARTS for path in folders)
    for folder in folders:
        for part in sorted(path for path in folder.iterdir() if path.is_dir()) if divided else [folder]:
            for path in image_paths(part):
                values = dict.fromkeys(COLUMNS, "") | {"file": path.relative_to(root).as_posix()}
                split = folder.name if divided else ""
                yield Row(values | {"label": part.name, "split": split}, str(path))
