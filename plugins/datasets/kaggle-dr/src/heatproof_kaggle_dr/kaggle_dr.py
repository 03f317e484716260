"""The Kaggle diabetic retinopathy dataset (EyePACS): fundus photographs with grades."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Literal

from heatproof.component import Seed
from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof_cohorts.attributes import attributes
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_cohorts.tables import Row, Table, read_table, write_table

TABLES = {"trainLabels.csv": ("image", "level"), "retinopathy_solution.csv": ("image", "level", "Usage")}
FOLDERS = {"train": "train", "public": "test", "private": "test"}
USES = {"train": "train", "public": "tuning", "private": "test"}
NAME = re.compile(r"([^/\\]+)_(left|right)")


class KaggleDrParams(ListedParams):
    """The division of photographs: that of Kaggle, or by patient, for ``trainLabels.csv`` only or for both tables."""

    division: Literal["published", "held_out", "pooled"] = "published"
    shares: Shares = Shares()
    seed: Seed = 0


class KaggleDr(ListedDataset[KaggleDrParams]):
    """88,702 photographs of both eyes of many patients, graded 0–4 (Kaggle "Diabetic Retinopathy Detection" 2015).

    ``trainLabels.csv`` grades the folder ``train``; ``retinopathy_solution.csv`` grades ``test`` and divides it into
    public (tuning) and private (test). ``held_out`` divides the patients of ``train`` by ``shares`` and seed, and puts
    all of ``test`` into the test split; ``pooled`` divides all patients. One of the tables may be missing. The patient
    is the number before ``_left`` or ``_right``, which is the attribute ``laterality``. The images must not be
    redistributed; there are no annotations.
    """

    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    splits = SPLITS
    tuning = "tuning"
    citation = "Kaggle, Diabetic Retinopathy Detection, 2015; photographs provided by EyePACS"
    licence = "the rules of the competition; the images must not be redistributed"
    obtain = "obtain it from the Kaggle competition 'Diabetic Retinopathy Detection', and unpack it there"

    @property
    def published(self) -> Mapping[str, int]:
        """Kaggle's counts; those of splits only for Kaggle's own division."""
        splits = {"samples in train": 35_126, "samples in tuning": 10_906, "samples in test": 42_670}
        total = {"samples": sum(splits.values())}
        if self.params.division != "published":
            return total
        return total | splits

    def listed(self) -> Listing:
        """List the rows of the tables; raise ``DataError`` where both are missing, or one lacks a column."""
        present = [self.params.root / name for name in TABLES if (self.params.root / name).is_file()]
        if not present:
            raise DataError(f"{self.params.root} holds neither {' nor '.join(TABLES)}; {self.obtain}.")
        tables = {path: read_table(path, TABLES[path.name]) for path in present}
        entries, faults = gathered(self._entries(tables))
        unreadable = chain.from_iterable(table.faults for table in tables.values())
        problems = [f"{row.source}: {_problem(row)}" for row in _rows(tables.values()) if _problem(row)]
        faults["rows that cannot be used"] = [*unreadable, *problems]
        absent = [name for name in TABLES if self.params.root / name not in tables]
        return Listing(entries, faults, {"missing tables": absent}, present)

    def _entries(self, tables: Mapping[Path, Table]) -> Iterator[tuple[str, ListedSample]]:
        for row in _rows(tables.values()):
            if _problem(row):
                continue
            id = row["image"]
            usage = _usage(row)
            patient = id.rsplit("_", 1)[0]
            path = self.params.root / FOLDERS[usage] / f"{id}.jpeg"
            split = self._split(patient, usage)
            known = {"laterality": id.rsplit("_", 1)[1], **attributes(row, ("image",))}
            yield id, ListedSample(path, split, int(row["level"]), patient, row.source, attributes=known)

    def _split(self, patient: str, usage: str) -> str:
        division = self.params.division
        if division == "published":
            return USES[usage]
        if division == "held_out" and usage != "train":
            return "test"
        return split_of(patient, self.params.shares, self.params.seed)

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write graded samples with ids ``…_left`` or ``…_right`` in this layout under an empty folder.

        Returns their number. ``extras["split"]`` names the published split (default: train).
        """
        require_new(root)
        rows: dict[str, list[tuple[object, ...]]] = {usage: [] for usage in USES}
        usages = {split: usage for usage, split in USES.items()}
        for sample in samples:
            usage = usages[self.split_to_write(sample)]
            if not NAME.fullmatch(sample.id):
                raise DataError(f"{sample.id} cannot be written; ids must be names that end with _left or _right.")
            write_image(sample.image, root / FOLDERS[usage] / f"{sample.id}.jpeg")
            rows[usage].append((sample.id, self.class_to_write(sample), usage.title()))
        tables = (rows["train"], rows["public"] + rows["private"])
        for (name, columns), lines in zip(TABLES.items(), tables):
            if lines:
                write_table(root / name, columns, [line[: len(columns)] for line in lines])
        return sum(map(len, rows.values()))


def _rows(tables: Iterable[Table]) -> list[Row]:
    return list(chain.from_iterable(table.rows for table in tables))


def _usage(row: Row) -> str:
    """Kaggle's use of a photograph: train, public or private."""
    return row.values.get("Usage", "train").lower()


def _problem(row: Row) -> str:
    """The problem of a row, empty for a sound one."""
    if not NAME.fullmatch(row["image"]):
        return f"image {row['image']!r} ends with neither _left nor _right"
    if row["level"] not in tuple("01234"):
        return f"level {row['level']!r} is not one of 0–4"
    if _usage(row) not in FOLDERS:
        return f"usage {row['Usage']!r} is neither Public nor Private"
    return ""
