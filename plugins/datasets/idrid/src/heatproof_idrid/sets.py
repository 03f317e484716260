"""The base of IDRiD's parts B and C: a training and a testing set of images, described by tables."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from typing import ClassVar

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof_cohorts.folders import image_paths
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.manifest import ListedDataset, require_new
from heatproof_cohorts.tables import Row, Table, plain_name, read_table, write_table

from .layout import SPLITS, split_of
from .settings import IdridParams

SETS = {"tuning": "Training", "test": "Testing"}
LETTERS = {"tuning": "a", "test": "b"}
IMAGES = "1. Original Images"
NAME = re.compile(r"IDRiD_(\d{3,})", re.IGNORECASE)


@dataclass(frozen=True)
class LabelTable:
    """A kind of table: letters that its file names contain, pattern of its path below the part, and columns."""

    letters: str
    pattern: str
    columns: tuple[str, str, str]

    def path(self, split: str) -> Path:
        """The path of the table of a split, below the folder of the part."""
        return Path(self.pattern.format(letter=LETTERS[split], set=SETS[split]))


class Sets(ListedDataset[IdridParams]):
    """A part of IDRiD; its images are numbered from IDRiD_001 in the training and again in the testing set."""

    splits = tuple(SETS)
    tuning = "tuning"
    published: ClassVar[Mapping[str, int]] = {"samples": 516, "samples in tuning": 413, "samples in test": 103}
    folder: ClassVar[str]
    kinds: ClassVar[tuple[LabelTable, ...]]

    @property
    def obtain(self) -> str:
        """How to obtain the part."""
        return (
            f"download '{self.folder}' from the page 'Indian Diabetic Retinopathy Image Dataset (IDRiD)' of IEEE "
            "DataPort (CC BY 4.0; cite Porwal et al. 2018), unpack it and set root to its folder"
        )

    @cached_property
    def paths(self) -> Mapping[tuple[LabelTable, str], Path]:
        """The tables by kind and split, at any depth; raise ``DataError`` where there is none, or one exists twice."""
        paths: dict[tuple[LabelTable, str], Path] = {}
        for path in sorted(self.params.root.rglob("*.csv")):
            for key in self._keys(path):
                if key in paths:
                    raise DataError(f"{path.name} exists twice, as {paths[key]} and {path}; keep one of them.")
                paths[key] = path
        if not paths:
            raise DataError(
                f"{self.params.root} holds no table such as '{self.kinds[0].path('tuning').name}'; {self.obtain}."
            )
        return paths

    def _keys(self, path: Path) -> list[tuple[LabelTable, str]]:
        """The kind and the split of a table by its name; empty for other files, such as hidden ones."""
        if path.name.startswith("."):
            return []
        letters = plain_name(path.stem)
        kinds = [kind for kind in self.kinds if kind.letters in letters]
        splits = [split for split, name in SETS.items() if name.lower() in letters]
        return list(product(kinds, splits))

    @cached_property
    def sheets(self) -> Mapping[tuple[LabelTable, str], Table]:
        """The existing tables; raise ``DataError`` where one lacks a column."""
        return {(kind, split): read_table(path, kind.columns) for (kind, split), path in self.paths.items()}

    @cached_property
    def images(self) -> Path:
        """The folder of the images, which lies beside a folder above the tables."""
        for parent in chain.from_iterable(table.parents for table in self.paths.values()):
            if parent.is_relative_to(self.params.root):
                for path in sorted(parent.iterdir()):
                    if plain_name(path.name) == plain_name(IMAGES):
                        return path
        return self.params.root / self.folder / IMAGES

    @cached_property
    def image_paths(self) -> Mapping[tuple[str, str], Path]:
        """The existing images by split and name."""
        paths = {}
        for path in image_paths(self.images):
            split = split_of(path, self.images)
            if split:
                paths[split, path.stem] = path
        return paths

    def image_path(self, split: str, name: str) -> Path:
        """The path of an image, or the published path where the image does not exist."""
        return self.image_paths.get((split, name), self.images / SPLITS[split] / f"{name}.jpg")

    def faults(self) -> dict[str, list[str]]:
        """Missing tables, unusable rows, and images that no table names."""
        keys = product(self.kinds, SETS)
        missing = [kind.path(split).name for kind, split in keys if (kind, split) not in self.paths]
        unusable: list[str] = []
        for (kind, _), table in self.sheets.items():
            unusable += table.faults
            for row in table.rows:
                problem = self.problem(kind, row)
                if problem:
                    unusable.append(f"{row.source}: {problem}")
        names = {split: set(self.named(split)) for split in SETS}
        unnamed = [str(path) for (split, name), path in self.image_paths.items() if name not in names[split]]
        return {
            "missing tables": [f"{name}; {self.obtain}" for name in missing],
            "rows that cannot be used": unusable,
            "images without a row": unnamed,
        }

    def named(self, split: str) -> list[str]:
        """The unique names of images in the tables of a split, in order."""
        rows = chain.from_iterable(self.rows(kind, split) for kind in self.kinds)
        return list(dict.fromkeys(name for name, _ in rows))

    def rows(self, kind: LabelTable, split: str) -> list[tuple[str, Row]]:
        """The usable rows of a table, with the name of the image of each row."""
        table = self.sheets.get((kind, split))
        if table is None:
            return []
        return [(self.name_of(kind, row), row) for row in table.rows if not self.problem(kind, row)]

    def name_of(self, kind: LabelTable, row: Row) -> str:
        """The name of the image of a row, empty where the row names none."""
        match = NAME.fullmatch(row[kind.columns[0]].removesuffix(".jpg"))
        if match is None:
            return ""
        return f"IDRiD_{match[1]}"

    @abstractmethod
    def problem(self, kind: LabelTable, row: Row) -> str:
        """The problem of a row, empty for a sound one."""
        raise NotImplementedError

    @abstractmethod
    def values(self, sample: Sample) -> Mapping[LabelTable, Sequence[object]]:
        """The values of a sample in each table, after its name; raise ``DataError`` where it has none."""
        raise NotImplementedError

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples in the layout of the part under an empty folder; return their number.

        They are named IDRiD_001 … in order within each split, which ``extras["split"]`` names (default: tuning);
        ``origin.csv`` lists their original ids.
        """
        require_new(root)
        rows: dict[tuple[LabelTable, str], list[tuple[object, ...]]] = {key: [] for key in product(self.kinds, SETS)}
        origins: dict[str, list[tuple[str, str, str]]] = {split: [] for split in SETS}
        for sample in samples:
            split = self.split_to_write(sample)
            name = f"IDRiD_{len(origins[split]) + 1:03d}"
            for kind, values in self.values(sample).items():
                rows[kind, split].append((name, *values))
            write_image(sample.image, root / self.folder / IMAGES / SPLITS[split] / f"{name}.jpg")
            origins[split].append((id_of(split, name), sample.id, sample.patient))
        for (kind, split), lines in rows.items():
            write_table(root / self.folder / kind.path(split), kind.columns, lines)
        originals = list(chain.from_iterable(origins.values()))
        write_table(root / "origin.csv", ("id", "origin", "patient"), originals, neutralised=True)
        return len(originals)


def id_of(split: str, name: str) -> str:
    """The id of an image: its name and its set, because both sets use the same names.

    >>> id_of("test", "IDRiD_001")
    'IDRiD_001_testing'
    """
    return f"{name}_{SETS[split].lower()}"
