"""What IDRiD's parts B and C share: a training and a testing set whose images tables describe."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
    """A kind of table: the letters by which its files are known, its place in the part's folder, and its columns."""

    letters: str
    place: str
    columns: tuple[str, str, str]

    def path(self, split: str) -> Path:
        """The table of a split below the part's folder."""
        return Path(self.place.format(letter=LETTERS[split], set=SETS[split]))


class Sets(ListedDataset[IdridParams]):
    """A part of IDRiD whose images count from IDRiD_001 in the training and in the testing set."""

    splits = tuple(SETS)
    tuning = "tuning"
    published: ClassVar[Mapping[str, int]] = {"samples": 516, "samples in tuning": 413, "samples in test": 103}
    folder: ClassVar[str]
    kinds: ClassVar[tuple[LabelTable, ...]]

    @property
    def obtain(self) -> str:
        """Where the part is found."""
        return (
            f"download '{self.folder}' from the page 'Indian Diabetic Retinopathy Image Dataset (IDRiD)' of IEEE "
            "DataPort (CC BY 4.0; cite Porwal et al. 2018), unpack it and set root to its folder"
        )

    @cached_property
    def paths(self) -> Mapping[tuple[LabelTable, str], Path]:
        """The tables by kind and split, at any depth; raises ``DataError`` where none is there, or one is twice."""
        found: dict[tuple[LabelTable, str], Path] = {}
        for path in sorted(self.params.root.rglob("*.csv")):
            for key in [] if path.name.startswith(".") else self._keys(path):
                if key in found:
                    raise DataError(f"{path.name} is there twice, as {found[key]} and {path}; keep one of them.")
                found[key] = path
        if not found:
            raise DataError(
                f"{self.params.root} holds no table such as '{self.kinds[0].path('tuning').name}'; {self.obtain}."
            )
        return found

    def _keys(self, path: Path) -> list[tuple[LabelTable, str]]:
        letters = plain_name(path.stem)
        return [
            (kind, split)
            for kind in self.kinds
            for split, name in SETS.items()
            if kind.letters in letters and name.lower() in letters
        ]

    @cached_property
    def sheets(self) -> Mapping[tuple[LabelTable, str], Table]:
        """The tables that are there; raises ``DataError`` where one lacks a column."""
        return {(kind, split): read_table(path, kind.columns) for (kind, split), path in self.paths.items()}

    @cached_property
    def images(self) -> Path:
        """The folder of the images: the one beside the folder of the tables."""
        root, images = self.params.root, plain_name(IMAGES)
        above = [folder for path in self.paths.values() for folder in path.parents if folder.is_relative_to(root)]
        beside = [path for folder in above for path in sorted(folder.iterdir()) if plain_name(path.name) == images]
        return beside[0] if beside else root / self.folder / IMAGES

    @cached_property
    def image_paths(self) -> Mapping[tuple[str, str], Path]:
        """The images that are there, by split and name."""
        found = image_paths(self.images)
        return {(split, path.stem): path for path in found if (split := split_of(path, self.images))}

    def image_path(self, split: str, name: str) -> Path:
        """The image of a name in a split, whether it is there or not."""
        return self.image_paths.get((split, name), self.images / SPLITS[split] / f"{name}.jpg")

    def faults(self) -> dict[str, list[str]]:
        """Tables that are missing, rows that cannot be used, and images that no table names."""
        missing = [kind.path(split).name for kind in self.kinds for split in SETS if (kind, split) not in self.paths]
        rows = [(row, self.problem(kind, row)) for (kind, _), table in self.sheets.items() for row in table.rows]
        unread = [fault for table in self.sheets.values() for fault in table.faults]
        named = {(split, name) for split in SETS for name in self.named(split)}
        return {
            "missing tables": [f"{name}; {self.obtain}" for name in missing],
            "rows that cannot be used": [*unread, *(f"{row.source}: {problem}" for row, problem in rows if problem)],
            "images without a row": [str(path) for key, path in self.image_paths.items() if key not in named],
        }

    def named(self, split: str) -> list[str]:
        """The names that the tables of a split give, in their order, each once."""
        return list(dict.fromkeys(name for kind in self.kinds for name, _ in self.rows(kind, split)))

    def rows(self, kind: LabelTable, split: str) -> list[tuple[str, Row]]:
        """The rows of a table that can be used, each with the name of its image."""
        table = self.sheets.get((kind, split))
        sound = [row for row in table.rows if not self.problem(kind, row)] if table else []
        return [(self.name_of(kind, row), row) for row in sound]

    def name_of(self, kind: LabelTable, row: Row) -> str:
        """The name of a row's image, empty where it names none."""
        match = NAME.fullmatch(row[kind.columns[0]].removesuffix(".jpg"))
        return f"IDRiD_{match[1]}" if match else ""

    @abstractmethod
    def problem(self, kind: LabelTable, row: Row) -> str:
        """What is wrong with a row, empty where nothing is."""
        raise NotImplementedError

    @abstractmethod
    def values(self, sample: Sample) -> Mapping[LabelTable, Sequence[object]]:
        """What each table says of a sample, beside its name; raises ``DataError`` where there is nothing to say."""
        raise NotImplementedError

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples in the part's layout under an empty folder; the number written.

        They are named IDRiD_001 … in order within each split, which ``extras["split"]`` names (tuning where it is not
        set); ``origin.csv`` says what each was called.
        """
        require_new(root)
        rows: dict[tuple[LabelTable, str], list[tuple[object, ...]]] = {
            (kind, s): [] for kind in self.kinds for s in SETS
        }
        origins: dict[str, list[tuple[str, str, str]]] = {split: [] for split in SETS}
        for sample in samples:
            split = self.split_to_write(sample)
            name = f"IDRiD_{len(origins[split]) + 1:03d}"
            for kind, values in self.values(sample).items():
                rows[kind, split].append((name, *values))
            write_image(sample.image, root / self.folder / IMAGES / SPLITS[split] / f"{name}.jpg")
            origins[split].append((id_of(split, name), sample.id, sample.patient))
        for (kind, split), own in rows.items():
            write_table(root / self.folder / kind.path(split), kind.columns, own)
        written = [origin for each in origins.values() for origin in each]
        write_table(root / "origin.csv", ("id", "origin", "patient"), written)
        return len(written)


def id_of(split: str, name: str) -> str:
    """The id of an image: names are given twice, once in each set.

    >>> id_of("test", "IDRiD_001")
    'IDRiD_001_testing'
    """
    return f"{name}_{SETS[split].lower()}"
