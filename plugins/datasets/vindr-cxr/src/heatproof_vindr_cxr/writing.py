"""Writes samples of any dataset in the layout of VinDr-CXR."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from heatproof.records import Annotation, Sample
from heatproof_cohorts.boxes import corners_of
from heatproof_cohorts.labels import indices_to_write
from heatproof_cohorts.manifest import ListedDataset, require_new
from heatproof_cohorts.tables import write_table
from heatproof_dicom_files.writing import write_dicom

from .findings import CLASSES, LOCAL, NONE, SYNONYMS
from .tables import EDGES, FOLDERS

READER = {"train": ("rad_id",), "test": ()}
"""Split → the column of the reader, which the consensus of the test split does not have."""


def write(dataset: ListedDataset[Any], samples: Iterable[Sample], root: Path) -> int:
    """Write samples under an empty folder; return their number."""
    require_new(root)
    labels: dict[str, list[Sequence[object]]] = {split: [] for split in READER}
    boxes: dict[str, list[Sequence[object]]] = {split: [] for split in READER}
    names = []
    for sample in samples:
        name = dataset.name_to_write(sample)
        split = dataset.split_to_write(sample)
        image = sample.image.mean(axis=0, keepdims=True).round().astype(sample.image.dtype)
        write_dicom(image, root / split / f"{name}.dicom", PatientID=name)
        indices = indices_to_write(dataset, sample)
        names.append(name)
        for reader, annotations in _readings(sample, split).items():
            key = (name, reader)[: 1 + len(READER[split])]
            labels[split].append((*key, *(int(index in indices) for index in range(len(CLASSES)))))
            rows = list(_boxes(annotations)) or [(NONE, "", "", "", "")]
            boxes[split] += [(*key, *row) for row in rows]
    for split, columns in READER.items():
        folder = root / FOLDERS[0]
        write_table(folder / f"image_labels_{split}.csv", ("image_id", *columns, *CLASSES), labels[split])
        write_table(folder / f"annotations_{split}.csv", ("image_id", *columns, "class_name", *EDGES), boxes[split])
    return len(names)


def _readings(sample: Sample, split: str) -> dict[str, list[Annotation]]:
    """The annotations of known findings by reader; of the test split all of them together."""
    readings: dict[str, list[Annotation]] = {}
    for annotation in sample.annotations:
        if SYNONYMS.get(annotation.finding, annotation.finding) in LOCAL and annotation.kind != "density":
            reader = annotation.reader if split == "train" else ""
            readings.setdefault(reader or "R1", []).append(annotation)
    return readings or {"R1": []}


def _boxes(annotations: Iterable[Annotation]) -> Iterator[tuple[object, ...]]:
    for annotation in annotations:
        corners = corners_of(annotation)
        if corners:
            yield LOCAL[SYNONYMS.get(annotation.finding, annotation.finding)], *corners
