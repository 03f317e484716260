"""The Kaggle diabetic retinopathy dataset (EyePACS): fundus photographs with a grade each."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from heatproof.errors import DataError
from heatproof.records import Sample
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_cohorts.tables import Row, Table, read_table, write_table

TABLES = {"trainLabels.csv": ("image", "level"), "retinopathy_solution.csv": ("image", "level", "Usage")}
FOLDERS = {"train": "train", "public": "test", "private": "test"}
USES = {"train": "train", "public": "tuning", "private": "test"}
NAME = re.compile(r"([^/\\]+)_(left|right)")


class KaggleDrParams(ListedParams):
    """How photographs are divided: by Kaggle, or by patient, either those of ``trainLabels.csv`` only or all."""

    division: Literal["published", "held_out", "pooled"] = "published"
    shares: Shares = Shares()
    seed: int = Field(default=0, ge=0)


class KaggleDr(ListedDataset[KaggleDrParams]):
    """88,702 photographs of both eyes of many patients, graded 0–4 (Kaggle "Diabetic Retinopathy Detection" 2015).

    ``trainLabels.csv`` grades the folder ``train``; ``retinopathy_solution.csv`` grades ``test`` and divides it into
    public (tuning) and private (test). ``held_out`` divides the patients of ``train`` by ``shares`` and seed, and all
    of ``test`` is for testing; ``pooled`` divides all patients. One of the tables may be missing. The patient is the
    number before ``_left`` or ``_right``. The images are not redistributable; nothing is annotated.
    """

    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    splits = SPLITS
    tuning = "tuning"
    citation = "Kaggle, Diabetic Retinopathy Detection, 2015; photographs provided by EyePACS"
    licence = "the rules of the competition; the images may not be passed on"
    obtain = "obtain it from the Kaggle competition 'Diabetic Retinopathy Detection', and unpack it there"

    @property
    def published(self) -> Mapping[str, int]:
        """Kaggle's counts: of the splits only where they are Kaggle's own."""
        splits = {"samples in train": 35_126, "samples in tuning": 10_906, "samples in test": 42_670}
        return {"samples": sum(splits.values())} | (splits if self.params.division == "published" else {})

    def listed(self) -> Listing:
        """The rows of the tables; raises ``DataError`` where both are missing, or one lacks a column."""
        present = [self.params.root / name for name in TABLES if (self.params.root / name).is_file()]
        if not present:
            raise DataError(f"{self.params.root} holds neither {' nor '.join(TABLES)}; {self.obtain}.")
        tables = {path: read_table(path, TABLES[path.name]) for path in present}
        entries, faults = gathered(self._entries(tables))
        faults["rows that cannot be used"] = [
            *(fault for table in tables.values() for fault in table.faults),
            *(
                f"{row.source}: {problem}"
                for table in tables.values()
                for row in table.rows
                if (problem := _problem(row))
            ),
        ]
        absent = [name for name in TABLES if self.params.root / name not in tables]
        return Listing(entries, faults, {"missing tables": absent}, present)

    def _entries(self, tables: Mapping[Path, Table]) -> Iterator[tuple[str, ListedSample]]:
        for row in (row for table in tables.values() for row in table.rows if not _problem(row)):
            id, usage = row["image"], _usage(row)
            patient = id.rsplit("_", 1)[0]
            path = self.params.root / FOLDERS[usage] / f"{id}.jpeg"
            yield id, ListedSample(path, self._split(patient, usage), int(row["level"]), patient, row.source)

    def _split(self, patient: str, usage: str) -> str:
        division = self.params.division
        if division == "published":
            return USES[usage]
        drawn = division == "pooled" or usage == "train"
        return split_of(patient, self.params.shares, self.params.seed) if drawn else "test"

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write graded samples named ``…_left`` or ``…_right`` in this layout under an empty folder; how many.

        ``extras["split"]`` names the published split, train where it is not set.
        """
        require_new(root)
        rows: dict[str, list[tuple[object, ...]]] = {usage: [] for usage in USES}
        for sample in samples:
            usage = {split: usage for usage, split in USES.items()}[self.split_to_write(sample)]
            if not NAME.fullmatch(sample.id):
                raise DataError(f"{sample.id} cannot be written; Kaggle-DR's names end with _left or _right.")
            write_image(sample.image, root / FOLDERS[usage] / f"{sample.id}.jpeg")
            rows[usage].append((sample.id, self.class_to_write(sample), usage.title()))
        for name, columns in TABLES.items():
            own = rows["train"] if "Usage" not in columns else rows["public"] + rows["private"]
            if own:
                write_table(root / name, columns, [row[: len(columns)] for row in own])
        return sum(map(len, rows.values()))


def _usage(row: Row) -> str:
    """Kaggle's use of a photograph: train, public or private."""
    return row.values.get("Usage", "train").lower()


def _problem(row: Row) -> str:
    """What is wrong with a row, empty where nothing is."""
    if not NAME.fullmatch(row["image"]):
        return f"image {row['image']!r} ends with neither _left nor _right"
    if row["level"] not in tuple("01234"):
        return f"level {row['level']!r} is not one of 0–4"
    return "" if _usage(row) in FOLDERS else f"usage {row['Usage']!r} is neither Public nor Private"
