"""NIH ChestX-ray14: labels of all images, and boxes of eight findings on 880 of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from heatproof.errors import DataError
from heatproof.records import Annotation, Sample
from heatproof_cohorts.attributes import attributes
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.labels import indices_to_write, label_of
from heatproof_cohorts.manifest import ListedDataset, ListedSample, Listing, gathered
from heatproof_cohorts.partition import split_of
from heatproof_cohorts.tables import Row, Table, plain_name, read_lines, read_table, write_table

from .source import Box, Source, distinct

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
BOXES = "BBox_List_2017.csv"
LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
EDGES = ("Bbox [x", "y", "w", "h]")
"""Columns of a table whose header has commas within brackets."""
ENTRY = (
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position",
    "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]",
)  # fmt: skip
CLASSES = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia", "No Finding",
)  # fmt: skip
FINDINGS = tuple(name.lower() for name in CLASSES[:8])
WRITTEN = {"infiltration": "Infiltrate"}
"""Findings that the boxes name otherwise than the labels do."""
NAMES = {finding: finding for finding in FINDINGS} | {name.lower(): finding for finding, name in WRITTEN.items()}
INDICES = {plain_name(name): index for index, name in enumerate(CLASSES)}
NONE = CLASSES.index("No Finding")


class Nih(Source):
    """Wang et al. 2017; a finding without a box was examined by nobody, also where the label denies it."""

    classes = CLASSES
    findings = FINDINGS
    synonyms: ClassVar[Mapping[str, str]] = {
        "enlarged_cardiac_silhouette": "cardiomegaly",
        "consolidation": "infiltration",
    }
    published: ClassVar[Mapping[str, int]] = {"boxed": 880, "all": 112_120, "boxes": 984}
    obtain = "obtain it from the page 'NIH Chest X-ray Dataset' of the NIH Clinical Center, and set root to its folder"

    @property
    def published_of_all(self) -> Mapping[str, int]:
        """The number of patients, and the lengths of the lists if they divide the images."""
        counts = {"patients": 30_805}
        if self.params.division == "published":
            counts |= {"samples in train": 86_524, "samples in test": 25_596}
        return counts

    @cached_property
    def table(self) -> Table:
        """The table of labels."""
        paths = [self.params.root / name for name in TABLES]
        path = next(filter(Path.is_file, paths), None)
        if path is None:
            raise DataError(f"{self.params.root} holds neither {' nor '.join(TABLES)}; {self.obtain}.")
        return read_table(path, ("Image Index", "Finding Labels", "Patient ID"))

    @cached_property
    def box_table(self) -> Table:
        """The table of boxes."""
        return read_table(self.params.root / BOXES, ("Image Index", "Finding Label", *EDGES))

    @cached_property
    def _distinct(self) -> tuple[dict[str, list[Box]], list[str]]:
        return distinct(
            (_id(row), Box.of(NAMES[row["Finding Label"].lower()], row, EDGES))
            for row in self.box_table.rows
            if row["Finding Label"].lower() in NAMES
        )

    @cached_property
    def boxes(self) -> Mapping[str, Sequence[Box]]:
        """Image → its boxes."""
        return self._distinct[0]

    @cached_property
    def image_paths(self) -> Mapping[str, Sequence[Path]]:
        """File name → the files of this name below all folders whose names begin with ``images``."""
        paths: dict[str, list[Path]] = {}
        for folder in sorted(self.params.root.glob("images*")):
            for path in sorted(folder.rglob("*.png")):
                paths.setdefault(path.name, []).append(path)
        return paths

    @cached_property
    def _splits(self) -> Mapping[str, frozenset[str]]:
        """Image → the published splits that list it; empty where patients are divided."""
        splits: dict[str, frozenset[str]] = {}
        if self.params.division == "published":
            for split, name in LISTS.items():
                for line, _ in read_lines(self.params.root / name):
                    id = line.removesuffix(".png")
                    splits[id] = splits.get(id, frozenset()) | {split}
        return splits

    def listing(self) -> Listing:
        """Read the table of labels, the boxes and, for the published division, both lists."""
        sound = [row for row in self.table.rows if not _problem(row)]
        selected = [row for row in sound if self.takes(_id(row))]
        entries, faults = gathered(self._entries(selected))
        problems = [f"{row.source}: {_problem(row)}" for row in self.table.rows if _problem(row)]
        ids = {_id(row) for row in sound}
        unknown = [row for row in self.box_table.rows if row["Finding Label"].lower() not in NAMES]
        faults |= {
            "rows that cannot be used": [*self.table.faults, *self.box_table.faults, *problems],
            "boxes of unknown findings": [f"{row.source}: {row['Finding Label']!r}" for row in unknown],
            "boxes without an image": [row.source for row in self.box_table.rows if _id(row) not in ids],
            "boxes listed twice": self._distinct[1],
            "images in no list": [row.source for row in selected if not self._splits_of(row)],
            "images in both lists": [row.source for row in selected if len(self._splits_of(row)) > 1],
            "images in two files": [
                " and ".join(map(str, files)) for name, files in self.image_paths.items() if len(files) > 1
            ],
        }
        unused = {
            "images without a box": [row.source for row in sound if not self.takes(_id(row))],
            "boxes of a finding that the labels lack": list(self._unlabelled(entries)),
        }
        lists = [self.params.root / name for name in LISTS.values() if self._splits]
        return Listing(entries, faults, unused, [*map(self.params.root.joinpath, self._names()), *lists])

    def _names(self) -> list[str]:
        present = [name for name in TABLES if (self.params.root / name).is_file()]
        return [present[0], BOXES]

    def _splits_of(self, row: Row) -> frozenset[str]:
        """The splits of an image, by the lists or by its patient; only an image with one of them becomes a sample."""
        if self.params.division == "published":
            return self._splits.get(_id(row), frozenset())
        return frozenset({split_of(row["Patient ID"] or _id(row), self.params.shares, self.params.seed)})

    def _entries(self, rows: Iterable[Row]) -> Iterator[tuple[str, ListedSample]]:
        for row in rows:
            name = row["Image Index"]
            paths = self.image_paths.get(name, [self.params.root / "images" / name])
            splits = list(self._splits_of(row))
            if len(paths) == len(splits) == 1:
                label = label_of(_indices(row))
                patient = row["Patient ID"]
                yield (
                    _id(row),
                    ListedSample(paths[0], splits[0], label, patient, row.source, attributes=attributes(row)),
                )

    def _unlabelled(self, entries: Mapping[str, ListedSample]) -> Iterator[str]:
        for id, entry in entries.items():
            labels = entry.label if isinstance(entry.label, tuple) else (entry.label,)
            for box in self.boxes.get(id, ()):
                if FINDINGS.index(box.finding) not in labels:
                    yield box.source

    def annotations(self, id: str, shape: tuple[int, ...]) -> Iterator[Annotation]:
        """The boxes of an image; raises ``DataError`` for one that is empty or leaves the image."""
        return (box.annotation(shape, self.overhang) for box in self.boxes.get(id, ()))

    def write(self, dataset: ListedDataset[Any], samples: Iterable[Sample], root: Path) -> int:
        """Write images as PNG, with the tables of labels and boxes, and the lists of splits."""
        rows: list[Sequence[object]] = []
        boxes: list[Sequence[object]] = []
        lists: dict[str, list[str]] = {split: [] for split in LISTS}
        for sample in samples:
            name = f"{dataset.name_to_write(sample)}.png"
            write_image(sample.image, root / "images" / name)
            labels = "|".join(CLASSES[index] for index in indices_to_write(dataset, sample))
            height, width = sample.space
            rows.append((name, labels or CLASSES[-1], 0, sample.patient, 60, "M", "PA", width, height, 0.143, 0.143))
            for finding, *edges in self.boxes_to_write(sample):
                boxes.append((name, WRITTEN.get(finding, finding.title()), *edges, "", "", ""))
            lists["test" if dataset.split_to_write(sample) == "test" else "train"].append(name)
        write_table(root / TABLES[0], ENTRY, rows)
        write_table(root / BOXES, ("Image Index", "Finding Label", *EDGES, "", "", ""), boxes)
        for split, names in lists.items():
            (root / LISTS[split]).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        return len(rows)


def _id(row: Row) -> str:
    return row["Image Index"].removesuffix(".png")


def _indices(row: Row) -> list[int]:
    return [INDICES[plain_name(name)] for name in row["Finding Labels"].split("|")]


def _problem(row: Row) -> str:
    """The problem of a row of the table of labels, empty for a sound one."""
    if not row["Image Index"].endswith(".png") or Path(row["Image Index"]).name != row["Image Index"]:
        return f"image {row['Image Index']!r} is not a name such as 00013118_008.png"
    unknown = [name for name in row["Finding Labels"].split("|") if plain_name(name) not in INDICES]
    if unknown:
        return f"label {unknown[0]!r} is not one of NIH's 14 findings and 'No Finding'"
    if len({*_indices(row)}) > 1 and NONE in _indices(row):
        return f"the labels {row['Finding Labels']!r} state a finding and that there is none"
    return ""
