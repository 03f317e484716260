"""Your own images: class folders or a table, with masks, boxes and densities of findings."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from pydantic import Field

from heatproof.errors import DataError
from heatproof.imaging.window import Window
from heatproof.records import Label, Sample
from heatproof_cohorts.annotation_files import BOXES, FOLDERS, MarkedDataset, MarkedFolder, MarkedParams
from heatproof_cohorts.attributes import attributes
from heatproof_cohorts.folders import file_paths, image_paths, is_visible, name_below
from heatproof_cohorts.manifest import ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, patient_in
from heatproof_cohorts.spelling import first_sources, require_names, require_patients, require_single_spellings
from heatproof_cohorts.tables import Row, Table, plain_name, read_table, write_table

COLUMNS = ("file", "label", "patient", "split", "id")
PARTS = {"train": "train", "training": "train", "tuning": "tuning", "validation": "tuning", "valid": "tuning"}
PARTS |= {"val": "tuning", "dev": "tuning", "test": "test", "testing": "test"}
BETWEEN = re.compile(r"[|;]")


class ImageFolderParams(MarkedParams):
    """The table to read, the classes, the window, and defaults for missing annotations, patients and splits.

    ``window`` says which values become black and white, see ``heatproof.imaging.window.Window``.
    """

    table: str = Field(default="samples.csv", max_length=255)
    classes: tuple[str, ...] = ()
    window: Window = "type"


class ImageFolder(MarkedDataset[ImageFolderParams]):
    """Your own images: ``samples.csv`` with columns file, label, patient, split, id, or else class folders or images.

    Only ``file`` is required; ``|`` separates several labels; further columns are attributes. Without a table the
    folders below root are classes, or splits (train, val, test) that hold classes; images of a root without folders
    have no label. ``masks/FINDING/`` and ``densities/FINDING/`` hold an image per sample, named by its id;
    ``contours/`` holds a table or JSON per sample. ``boxes.csv`` has columns file, finding, x1, y1, x2, y2 (or x0, y0,
    x1, y1; xmin, ymin, xmax, ymax; x, y, w, h) and reader; empty corners mean that the finding is absent. Labels that
    differ in spelling only, or that may mean that there is none (``NA``), are refused unless ``classes`` lists the
    classes. Where no sample has a split, patients are divided by name and seed.
    """

    revision = 2
    splits = SPLITS
    tuning = "tuning"
    obtain = "put the file there, or take its row out of the table"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes of the settings, or all that occur, sorted by name.

        Raises ``DataError`` where names that occur are two spellings of one, or may say that there is no label.
        """
        if self.params.classes:
            return self.params.classes
        names = first_sources((name, row.source) for row in self._candidates for name in _names(row["label"]))
        require_single_spellings(names, "labels", "correct the table, or list the classes in the setting classes.")
        require_names(
            names, "label", "leave the label empty where it is not known, or list the classes in the setting classes."
        )
        return tuple(sorted(names))

    @property
    def window(self) -> Window:
        """The window of the settings."""
        return self.params.window

    @cached_property
    def _table(self) -> Table:
        path = self.params.root / self.params.table
        if path.is_file() or self.params.table != ImageFolderParams.model_fields["table"].default:
            return read_table(path, COLUMNS[:1], COLUMNS[1:], neutralised=True)
        return Table(tuple(_rows(self.params.root)), (), "utf-8")

    @cached_property
    def _divided(self) -> bool:
        return any(row["split"] for row in self._table.rows)

    @cached_property
    def _candidates(self) -> list[Row]:
        """The rows that name an image below root, a known class, and a known split."""
        return [row for row in self._table.rows if not self._problem(row)]

    def _problem(self, row: Row) -> str:
        """The problem of a row, empty for a sound one."""
        if not row["file"] or Path(row["file"]).is_absolute() or ".." in Path(row["file"]).parts:
            return f"file {row['file']!r} is not a path below {self.params.root}"
        if self._divided and plain_name(row["split"]) not in PARTS:
            return f"split {row['split']!r} is not one of {', '.join(PARTS)}"
        unknown = [name for name in _names(row["label"]) if self.params.classes and name not in self.params.classes]
        if unknown:
            return f"label {unknown[0]!r} is not one of the classes {', '.join(self.params.classes)}"
        return ""

    def listed(self) -> Listing:
        """List the rows of the table, or the files in class folders; raise ``DataError`` where there are neither."""
        if not self._table.rows:
            raise DataError(
                f"{self.params.root} holds no images, alone or in class folders, and no {self.params.table} with a "
                "row; give one of them."
            )
        require_patients(self._table.rows)
        entries, faults = gathered(self._entries(self._candidates))
        problems = [f"{row.source}: {self._problem(row)}" for row in self._table.rows if self._problem(row)]
        faults["rows that cannot be used"] = [*self._table.faults, *problems]
        files = {entry.path.relative_to(self.params.root).as_posix() for entry in entries.values()}
        stray = self.annotation_files.stray(set(entries), files)
        tables = [path for path in (self.params.root / self.params.table, self.params.root / BOXES) if path.is_file()]
        return Listing(entries, {**faults, **stray}, tables=tables, passed_over=self._passed_over())

    def _passed_over(self) -> list[Path]:
        """List the files that nothing reads: among annotations, and, without a table, anywhere else below root."""
        passed = self.annotation_files.passed_over()
        root = self.params.root
        if (root / self.params.table).is_file():
            return passed
        used = {root / row["file"] for row in self._table.rows} | {root / BOXES}
        below = {root / name for name in FOLDERS}
        return [path for path in file_paths(root) if path not in used and not below & set(path.parents)] + passed

    def _entries(self, rows: Iterable[Row]) -> Iterator[tuple[str, ListedSample]]:
        for row in rows:
            path = Path(row["file"])
            name = name_below(path)
            id = row["id"] or name
            patient = row["patient"] or patient_in(Path(name).name, self.params.patient)
            if self._divided:
                split = PARTS[plain_name(row["split"])]
            else:
                split = self.params.split_of(patient or id)
            label = self._label(row["label"])
            known = attributes(row, COLUMNS)
            yield id, ListedSample(self.params.root / path, split, label, patient, row.source, attributes=known)

    def _label(self, text: str) -> Label:
        labels = tuple(dict.fromkeys(self.classes.index(name) for name in _names(text)))
        if len(labels) > 1:
            return labels
        return next(iter(labels), None)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples as PNG, with a table, masks, densities and boxes, under an empty folder; return their number.

        Class ``n`` is written as its name where this dataset has one, else as ``class_n``; ``extras["split"]`` names
        the split. Densities are scaled to 16 bits by their maximum; contours become masks.
        """
        require_new(root)
        folder = MarkedFolder(root)
        rows = []
        for sample in samples:
            name = self.name_to_write(sample)
            labels = sample.label if isinstance(sample.label, tuple) else (sample.label,)
            classes = "|".join(self._written_class(label) for label in labels if label is not None)
            split = ""
            if "split" in sample.extras:
                split = self.split_to_write(sample)
            rows.append((folder.add(sample, name), classes, sample.patient, split, name))
        write_table(root / self.params.table, COLUMNS, rows, neutralised=True)
        folder.close()
        return len(rows)

    def _written_class(self, label: int) -> str:
        if label < len(self.params.classes):
            return self.params.classes[label]
        return f"class_{label}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in BETWEEN.split(text) if name.strip()]


def _rows(root: Path) -> Iterator[Row]:
    """A row for each image in a class folder, or in a class folder within the folder of a split.

    Without these folders, the images in root itself have no label.
    """
    folders = [
        path for path in sorted(root.glob("*/")) if path.name not in FOLDERS and is_visible(path.name) and path.is_dir()
    ]
    if not folders:
        images = [path for path in image_paths(root) if path.parent == root]
        yield from (Row(dict.fromkeys(COLUMNS, "") | {"file": path.name}, str(path)) for path in images)
        return
    if any(plain_name(folder.name) not in PARTS for folder in folders):
        for folder in folders:
            yield from _class_rows(root, folder, "")
        return
    for split in folders:
        for folder in sorted(filter(Path.is_dir, split.iterdir())):
            yield from _class_rows(root, folder, split.name)


def _class_rows(root: Path, folder: Path, split: str) -> Iterator[Row]:
    """A row for each image in a class folder."""
    for path in image_paths(folder):
        values = {"file": path.relative_to(root).as_posix(), "label": folder.name, "split": split}
        yield Row(dict.fromkeys(COLUMNS, "") | values, str(path))
