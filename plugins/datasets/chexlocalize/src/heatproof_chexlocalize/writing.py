"""Writes samples of any dataset in the layout of CheXlocalize."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.records import Annotation, Array, Sample
from heatproof_cohorts.image_files import eight_bits, write_image
from heatproof_cohorts.labels import indices_to_write
from heatproof_cohorts.manifest import ListedDataset, require_new
from heatproof_cohorts.run_lengths import encoded_mask
from heatproof_cohorts.tables import write_table

from .findings import CLASSES, OUTLINED, SYNONYMS
from .outlines import IMAGES, MASKS, OUTLINES, PARTS, POINTS, PREFIXES, TABLES

SETTLED = ("Male", "60", "Frontal", "AP")
"""The columns Sex, Age, Frontal/Lateral and AP/PA, which heatproof does not read."""
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CLASSES)


def write(dataset: ListedDataset[Any], samples: Iterable[Sample], root: Path) -> int:
    """Write samples under an empty folder; return their number."""
    require_new(root)
    studies: Counter[str] = Counter()
    rows: dict[str, list[Sequence[object]]] = {split: [] for split in PARTS}
    files: dict[str, dict[str, Any]] = {}
    origins = []
    for sample in samples:
        split = dataset.split_to_write(sample)
        patient = "patient" + sample.patient.removeprefix("patient")
        studies[patient] += 1
        name = f"{patient}/study{studies[patient]}/view1_frontal"
        part = PARTS[split][0]
        write_image(eight_bits(sample.image), root / IMAGES[0] / part / f"{name}.jpg")
        labels = indices_to_write(dataset, sample)
        rows[split].append((f"{part}/{name}.jpg", *SETTLED, *(float(index in labels) for index in range(len(CLASSES)))))
        id = name.replace("/", "_")
        origins.append((id, sample.id, sample.patient))
        for kind, entry in _entries(sample).items():
            files.setdefault(f"{kind}_{part}.json", {})[id] = entry
    for split, lines in rows.items():
        write_table(root / IMAGES[0] / TABLES[split][0], COLUMNS, lines)
    _write_files(root / OUTLINES[0], files)
    write_table(root / "origin.csv", ("id", "origin", "patient"), origins, neutralised=True)
    return len(origins)


def _write_files(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{PREFIXES['ground_truth']}_{MASKS}_{parts[0]}.json" for parts in PARTS.values()]
    names += [f"{PREFIXES['benchmark']}_{kind}_{PARTS['test'][0]}.json" for kind in (MASKS, POINTS)]
    for name in dict.fromkeys([*names, *files]):
        (folder / name).write_text(json.dumps(files.get(name, {})), encoding="utf-8")


def _entries(sample: Sample) -> dict[str, dict[str, Any]]:
    """Kind of file → the entry of an image, for each reader who annotated it."""
    entries: dict[str, dict[str, Any]] = {}
    for reader, prefix in PREFIXES.items():
        annotations = [
            annotation
            for annotation in sample.annotations
            if (annotation.reader == "benchmark") == (reader == "benchmark") and annotation.kind != "density"
        ]
        masks = _masks(annotations)
        if masks:
            empty = np.zeros(sample.space, dtype=bool)
            entries[f"{prefix}_{MASKS}"] = {
                name: encoded_mask(masks.get(finding, empty)) for finding, name in OUTLINED.items()
            }
    if "points" in sample.extras:
        points: dict[str, list[list[float]]] = {}
        for finding, (row, column) in zip(sample.extras["point_findings"], sample.extras["points"].tolist()):
            points.setdefault(OUTLINED[str(finding)], []).append([column, row])
        entries[f"{PREFIXES['benchmark']}_{POINTS}"] = points
    return entries


def _masks(annotations: Iterable[Annotation]) -> dict[str, Array]:
    """Finding of the layout → the union of its masks."""
    masks: dict[str, Array] = {}
    for annotation in annotations:
        finding = SYNONYMS.get(annotation.finding, annotation.finding)
        if finding in OUTLINED:
            values = np.asarray(annotation.values)
            masks[finding] = np.maximum(masks.get(finding, values), values)
    return masks
