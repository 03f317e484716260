"""The Kaggle diabetic retinopathy dataset (EyePACS): fundus photographs with a grade each."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from salix.component import Location, Params
from salix.dataset import Dataset, Finding
from salix.errors import DataError, near
from salix.images import read_image, write_image
from salix.listing import require_new
from salix.records import Sample

TABLES = {"trainLabels.csv": ("image", "level"), "retinopathy_solution.csv": ("image", "level", "Usage")}
FOLDERS = {"train": "train", "public": "test", "private": "test"}
PUBLISHED = {"train": 35_126, "public": 10_906, "private": 42_670}


class Entry(NamedTuple):
    """One row of the tables: a photograph's split and grade."""

    split: str
    grade: int


class KaggleDrParams(Params):
    """Where the download lies: the tables, and the folders ``train`` and ``test``."""

    root: Location


class KaggleDr(Dataset):
    """Photographs of both eyes of many patients, graded 0–4 (Kaggle "Diabetic Retinopathy Detection" 2015, EyePACS).

    ``trainLabels.csv`` grades the folder ``train``; ``retinopathy_solution.csv`` grades ``test`` and divides it into
    public (the tuning split) and private. One of the tables may be missing. The patient is the number before ``_left``
    or ``_right``. The pictures are not redistributable; nothing is annotated.
    """

    Params = KaggleDrParams
    params: KaggleDrParams
    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    splits = ("train", "public", "private")
    tuning = "public"
    citation = "Kaggle, Diabetic Retinopathy Detection, 2015; photographs provided by EyePACS"

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """The photographs by id; raises ``DataError`` when tables, columns or values are not as published."""
        present = [name for name in TABLES if (self.params.root / name).is_file()]
        if not present:
            raise DataError(
                f"{self.params.root} holds neither {' nor '.join(TABLES)}; download them from the Kaggle competition "
                "'Diabetic Retinopathy Detection', unpack them and set root to their folder."
            )
        entries: dict[str, Entry] = {}
        for name in present:
            for id, entry in _rows(self.params.root / name):
                if id in entries:
                    raise DataError(f"{self.params.root / name} names {id} a second time; keep one row for each image.")
                entries[id] = entry
        return entries

    def ids(self, split: str | None = None) -> list[str]:
        """``10_left`` and so on, in the order of the tables; none of a split whose table is missing."""
        self.require_split(split)
        return [id for id, entry in self.entries.items() if split in (None, entry.split)]

    def group(self, id: str) -> str:
        """The patient's number."""
        return id.rsplit("_", 1)[0]

    def files(self) -> Iterable[Path]:
        """The tables and the photographs that are there."""
        root = self.params.root
        tables = [root / name for name in TABLES if (root / name).is_file()]
        return [*tables, *(path for id in self.entries if (path := self._path(id)).is_file())]

    def load(self, id: str) -> Sample:
        """One photograph (3, h, w) uint8 with its grade."""
        if id not in self.entries:
            raise DataError(f"the tables under {self.params.root} have no image {id!r}; {near(id, self.entries)}")
        image, geometry = read_image(self._path(id))
        return Sample(id, image, label=self.entries[id].grade, group=self.group(id), geometry=geometry)

    def check(self) -> list[Finding]:
        """Rows against the published counts, and pictures that are missing."""
        rows = [entry.split for entry in self.entries.values()]
        missing = [str(path) for id in self.entries if not (path := self._path(id)).is_file()]
        counts = [Finding(f"rows of {split}", rows.count(split), PUBLISHED[split]) for split in self.splits]
        return [*counts, Finding("missing pictures", len(missing), 0, *missing[:1])]

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write graded samples named ``…_left`` or ``…_right`` in this layout under an empty folder; how many.

        ``extras["split"]`` names the split, train where it is not set.
        """
        require_new(root)
        written: dict[str, Entry] = {}
        for sample in samples:
            written[sample.id] = entry = self._written(sample)
            write_image(sample.image, root / FOLDERS[entry.split] / f"{sample.id}.jpeg")
        for name, columns in TABLES.items():
            rows = [(id, grade, split.title()) for id, (split, grade) in written.items() if _table(split) == name]
            if rows:
                with open(root / name, "w", newline="", encoding="utf-8") as stream:
                    csv.writer(stream).writerows([columns, *(row[: len(columns)] for row in rows)])
        return len(written)

    def _written(self, sample: Sample) -> Entry:
        split = str(sample.extras.get("split", "train"))
        self.require_split(split)
        if not re.search(r"_(left|right)$", sample.id):
            raise DataError(f"{sample.id} cannot be written; Kaggle-DR's names end with _left or _right.")
        if not isinstance(sample.label, int) or sample.label not in range(len(self.classes)):
            raise DataError(f"{sample.id} has label {sample.label}; Kaggle-DR needs a grade 0–4.")
        return Entry(split, sample.label)

    def _path(self, id: str) -> Path:
        return self.params.root / FOLDERS[self.entries[id].split] / f"{id}.jpeg"


def _table(split: str) -> str:
    return "trainLabels.csv" if split == "train" else "retinopathy_solution.csv"


def _rows(path: Path) -> Iterator[tuple[str, Entry]]:
    """The rows of a table; raises ``DataError`` naming the line that is not as published."""
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as stream:
        reader = csv.DictReader(stream, skipinitialspace=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        if missing := [name for name in TABLES[path.name] if name not in columns]:
            raise DataError(f"{path} has no column {missing[0]!r}, only {columns}; replace it by the published table.")
        reader.fieldnames = columns
        for row in reader:
            yield row["image"].strip(), _entry(row, path, reader.line_num)


def _entry(row: Mapping[str, str | None], path: Path, line: int) -> Entry:
    split = (row["Usage"] or "").strip().lower() if "Usage" in row else "train"
    grade = (row["level"] or "").strip()
    if split not in FOLDERS or not re.fullmatch("[0-4]", grade):
        raise DataError(f"{path}, line {line}: level {grade!r} or usage {split!r} is not one of 0–4, Public, Private.")
    return Entry(split, int(grade))
