"""The RSNA pneumonia detection challenge: boxes of opacities on radiographs of NIH ChestX-ray14."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Annotation, Sample
from heatproof_cohorts.json_files import read_json
from heatproof_cohorts.manifest import ListedDataset, ListedSample, Listing, gathered
from heatproof_cohorts.partition import split_of
from heatproof_cohorts.tables import Row, Table, read_table, write_table
from heatproof_dicom_files.writing import write_dicom

from .source import EDGES, Box, Source, distinct

TABLE = "stage_2_train_labels.csv"
IMAGES = "stage_2_train_images"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
COLUMNS = ("patientId", *EDGES, "Target")


class Rsna(Source):
    """Shih et al. 2019; without a box the readers saw no opacity, so the finding is absent."""

    classes = ("No Pneumonia", "Pneumonia")
    findings = ("pneumonia",)
    synonyms: ClassVar[Mapping[str, str]] = {"consolidation": "pneumonia", "lung_opacity": "pneumonia"}
    published: ClassVar[Mapping[str, int]] = {"boxed": 6_012, "all": 26_684, "boxes": 9_555}
    obtain = "obtain it from the Kaggle competition 'RSNA Pneumonia Detection Challenge', and set root to its folder"

    @cached_property
    def table(self) -> Table:
        """The table of boxes: a row for each, or one without edges for an image without a box."""
        path = self.params.root / TABLE
        if not path.is_file():
            raise DataError(f"{self.params.root} holds no {TABLE}; {self.obtain}.")
        return read_table(path, COLUMNS)

    @cached_property
    def _sound(self) -> list[Row]:
        return [row for row in self.table.rows if not _problem(row)]

    @cached_property
    def _distinct(self) -> tuple[dict[str, list[Box]], list[str]]:
        positive = (row for row in self._sound if row["Target"] == "1")
        return distinct((row["patientId"], Box.of("pneumonia", row, EDGES)) for row in positive)

    @cached_property
    def boxes(self) -> Mapping[str, Sequence[Box]]:
        """Image → its boxes."""
        return self._distinct[0]

    @cached_property
    def patients(self) -> Mapping[str, str]:
        """Image → the number of its patient in ChestX-ray14, from RSNA's own mapping; empty without that file."""
        path = self.params.root / MAPPING
        if not path.is_file():
            return {}
        try:
            return {str(entry["subset_img_id"]): entry["img_id"].rpartition("_")[0] for entry in read_json(path)}
        except (TypeError, KeyError, AttributeError):
            raise DataError(f"{path} is not a list of objects with subset_img_id and img_id; restore it.") from None

    def listing(self) -> Listing:
        """Read the table of boxes and, where it exists, the mapping to patients."""
        entries, faults = gathered(self._entries())
        # An image has one row for each of its boxes, so rows with the same image are no fault.
        faults.pop("samples listed twice")
        negative = [(row["patientId"], row.source) for row in self._sound if row["Target"] == "0"]
        sources = dict(reversed(negative))
        repeated = [f"{sources[id]} and {source}" for id, source in negative if sources[id] != source]
        problems = [f"{row.source}: {_problem(row)}" for row in self.table.rows if _problem(row)]
        faults |= {
            "rows that cannot be used": [*self.table.faults, *problems],
            "boxes listed twice": [*self._distinct[1], *repeated],
        }
        unused = {
            "images without a box": [source for id, source in sources.items() if not self.takes(id)],
            f"images whose patient is unknown (no {MAPPING})": [id for id in entries if id not in self.patients],
        }
        tables = [path for path in (self.params.root / TABLE, self.params.root / MAPPING) if path.is_file()]
        return Listing(entries, faults, unused, tables)

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        for row in self._sound:
            id = row["patientId"]
            if self.takes(id):
                patient = self.patients.get(id, "")
                split = split_of(patient or id, self.params.shares, self.params.seed)
                path = self.params.root / IMAGES / f"{id}.dcm"
                yield id, ListedSample(path, split, int(row["Target"]), patient, row.source)

    def annotations(self, id: str, shape: tuple[int, ...]) -> Iterator[Annotation]:
        """The boxes of an image, or an annotation of zeros; raises ``DataError`` for a box that does not fit."""
        if id not in self.boxes:
            yield Annotation("pneumonia", np.broadcast_to(np.zeros((), bool), shape), "box")
        for box in self.boxes.get(id, ()):
            yield box.annotation(shape, self.overhang)

    def write(self, dataset: ListedDataset[Any], samples: Iterable[Sample], root: Path) -> int:
        """Write images as DICOM, with the table of boxes and the mapping to patients.

        A sample with a box has ``Target`` 1, others 0, whatever their label is.
        """
        rows: list[Sequence[object]] = []
        mapping = []
        for sample in samples:
            name = dataset.name_to_write(sample)
            image = sample.image.mean(axis=0, keepdims=True).round().astype(sample.image.dtype)
            write_dicom(image, root / IMAGES / f"{name}.dcm", PatientID=name, Modality="CR")
            boxes = [(name, *edges, 1) for _, *edges in self.boxes_to_write(sample)]
            rows += boxes or [(name, "", "", "", "", 0)]
            mapping.append((name, sample.patient))
        write_table(root / TABLE, COLUMNS, rows)
        _write_mapping(root / MAPPING, mapping)
        return len(mapping)


def _write_mapping(path: Path, patients: Iterable[tuple[str, str]]) -> None:
    entries = [{"img_id": f"{patient}_000.png", "subset_img_id": name} for name, patient in patients]
    path.write_text(json.dumps(entries), encoding="utf-8")


def _problem(row: Row) -> str:
    """The problem of a row, empty for a sound one."""
    if not row["patientId"] or Path(row["patientId"]).name != row["patientId"]:
        return f"patientId {row['patientId']!r} is not the name of an image"
    if row["Target"] not in ("0", "1"):
        return f"Target {row['Target']!r} is not 0 or 1"
    edges = sum(bool(row[name]) for name in EDGES)
    if edges != 4 * int(row["Target"]):
        return f"Target {row['Target']} has {edges} of the four edges of a box"
    return ""
