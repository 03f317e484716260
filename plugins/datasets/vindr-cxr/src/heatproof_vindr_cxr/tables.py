"""Reads the tables of VinDr-CXR: what each reader stated of an image, and the boxes that each reader drew."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from heatproof.errors import DataError
from heatproof_cohorts.tables import Row, Table, plain_name, read_table

from .findings import CLASSES, FINDINGS, LOCAL, NONE, OTHER

VOTES = {"0": False, "0.0": False, "1": True, "1.0": True}
EDGES = ("x_min", "y_min", "x_max", "y_max")
FOLDERS = ("annotations", ".")
READERS = 3
"""The readers of each training image."""


@dataclass(frozen=True)
class Part:
    """The tables of one split below ``root``: ``image_labels`` and ``annotations``."""

    root: Path
    split: str

    @cached_property
    def labels(self) -> Table:
        """A row for each image and reader; of the test split one for each image, without reader."""
        table = read_table(
            self.path("image_labels"),
            ("image_id", *(name for name in CLASSES if name not in OTHER)),
            ("rad_id", *OTHER),
        )
        if not table.columns.intersection(OTHER):
            raise DataError(f"{self.path('image_labels')} has no column {OTHER[0]!r}; rename or add it.")
        return table

    @cached_property
    def drawn(self) -> Table:
        """A row for each box, and one without edges for a reader who saw nothing."""
        return read_table(self.path("annotations"), ("image_id", "class_name", *EDGES), ("rad_id",))

    def path(self, kind: str) -> Path:
        """The table of a kind; the published path where there is none."""
        name = f"{kind}_{self.split}.csv"
        paths = [self.root / folder / name for folder in FOLDERS]
        return next(filter(Path.is_file, paths), paths[0])

    @property
    def present(self) -> bool:
        """Whether the table of labels exists."""
        return self.path("image_labels").is_file()

    @cached_property
    def votes(self) -> Mapping[str, Mapping[str, frozenset[int]]]:
        """Image → reader → the classes that the reader stated; of two rows of a reader the first."""
        votes: dict[str, dict[str, frozenset[int]]] = {}
        for row in self.labels.rows:
            if not self.problem(row):
                stated = frozenset(index for index, value in enumerate(_values(row)) if VOTES[value])
                votes.setdefault(row["image_id"], {}).setdefault(row["rad_id"], stated)
        return votes

    @cached_property
    def boxes(self) -> Mapping[tuple[str, str, str], Sequence[Row]]:
        """(Image, reader, finding) → the rows of its boxes, without repeated ones."""
        boxes: dict[tuple[str, str, str], dict[tuple[str, ...], Row]] = {}
        for key, row in self._boxes():
            boxes.setdefault(key, {}).setdefault(_edges(row), row)
        return {key: list(rows.values()) for key, rows in boxes.items()}

    def _boxes(self) -> Iterator[tuple[tuple[str, str, str], Row]]:
        for row in self.drawn.rows:
            finding = FINDINGS.get(plain_name(row["class_name"]))
            if finding:
                yield (row["image_id"], row["rad_id"], finding), row

    def problem(self, row: Row) -> str:
        """The problem of a row of labels, empty for a sound one."""
        if not row["image_id"] or Path(row["image_id"]).name != row["image_id"]:
            return f"image_id {row['image_id']!r} is not the name of an image"
        if self.split == "train" and not row["rad_id"]:
            return "the reader (rad_id) is missing"
        wrong = [f"{name} is {value!r}" for name, value in zip(CLASSES, _values(row)) if value not in VOTES]
        if wrong:
            return f"{wrong[0]}; allowed: 0 and 1"
        return ""

    def faults(self) -> dict[str, list[str]]:
        """What cannot be used, by its kind: a sentence for each."""
        problems = [f"{row.source}: {self.problem(row)}" for row in self.labels.rows if self.problem(row)]
        first = {(row["image_id"], row["rad_id"]): row.source for row in reversed(self.labels.rows)}
        repeated = [row.source for row in self.labels.rows if first[row["image_id"], row["rad_id"]] != row.source]
        names = {*FINDINGS, plain_name(NONE)}
        unknown = [row for row in self.drawn.rows if plain_name(row["class_name"]) not in names]
        boxes = list(self._boxes())
        readers = {(id, reader) for id, rows in self.votes.items() for reader in rows}
        used = {row.source for rows in self.boxes.values() for row in rows}
        return {
            "rows that cannot be used": [*self.labels.faults, *self.drawn.faults, *problems],
            "readings listed twice": repeated,
            "boxes of unknown findings": [f"{row.source}: {row['class_name']!r}" for row in unknown],
            "boxes without an image or a reader": [row.source for key, row in boxes if key[:2] not in readers],
            "boxes listed twice": [row.source for _, row in boxes if row.source not in used],
        }

    def remarks(self) -> dict[str, list[str]]:
        """Where labels and boxes of a reader differ, and the images that fewer readers than three have read."""
        indices = {finding: CLASSES.index(name) for finding, name in LOCAL.items()}
        denied = [
            rows[0].source
            for (id, reader, finding), rows in self.boxes.items()
            if indices[finding] not in self.votes.get(id, {}).get(reader, indices.values())
        ]
        undrawn = [
            f"{id} by {reader or 'consensus'}: {finding}"
            for id, readers in self.votes.items()
            for reader, stated in readers.items()
            for finding, index in indices.items()
            if index in stated and (id, reader, finding) not in self.boxes
        ]
        few = [id for id, readers in self.votes.items() if self.split == "train" and len(readers) < READERS]
        return {
            "boxes that the labels of their reader deny": denied,
            "findings that a reader states without a box": undrawn,
            f"training images with fewer than {READERS} readers": few,
        }


def _edges(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in EDGES)


def _values(row: Row) -> list[str]:
    """The values of all classes, of which one has two names."""
    values = {**row.values, OTHER[0]: row[OTHER[0]] or row[OTHER[1]]}
    return [values[name] for name in CLASSES]
