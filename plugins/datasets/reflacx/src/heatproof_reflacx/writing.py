"""Writes samples of any dataset in the layout of REFLACX, as readings of phase 3."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from scipy import ndimage

from heatproof.records import Annotation, Array, Sample
from heatproof_cohorts.manifest import ListedDataset, require_new
from heatproof_cohorts.tables import write_table
from heatproof_eyetracking.gaze import SIGMA, fixations_of
from heatproof_eyetracking.mimic import write_image

from .folder import CHEST, CORNERS, DEGREES, ELLIPSES, FIXATIONS, LABELS, POSITIONS, SHOWN, TIMES

SHEET = (
    "id",
    "split",
    "eye_tracking_data_discarded",
    "image",
    "dicom_id",
    "subject_id",
    "image_size_x",
    "image_size_y",
)
CERTAIN = 5
DEGREE = SIGMA / 3056
"""A degree of visual angle, in heights of the image."""

Rows: TypeAlias = list[Sequence[object]]


def write(
    dataset: ListedDataset, samples: Iterable[Sample], root: Path, names: Mapping[str, str], parts: Mapping[str, str]
) -> int:
    """Write samples under an empty folder; return their number.

    ``names`` maps findings to labels, ``parts`` maps the splits of ``dataset`` to those of REFLACX.
    """
    require_new(root)
    sheet: Rows = []
    count = 0
    for count, sample in enumerate(samples, 1):
        name = dataset.name_to_write(sample)
        split = parts[dataset.split_to_write(sample)]
        path = write_image(sample, root, name, count)
        label = dataset.class_to_write(sample)
        gaze = fixations_of(sample)
        for reader in gaze or [""]:
            id = f"P300R{len(sheet) + 1:06d}"
            annotations = [
                annotation
                for annotation in sample.annotations
                if annotation.reader == reader or annotation.reader not in gaze
            ]
            _write_reading(root / "main_data" / id, gaze.get(reader), _masks(annotations, names), sample.space)
            values: dict[str, object] = dict.fromkeys(LABELS, "")
            values |= {names[annotation.finding]: 0 for annotation in annotations if annotation.finding in names}
            if label < len(LABELS):
                values[LABELS[label]] = CERTAIN
            size = (sample.space[1], sample.space[0])
            sheet.append((id, split, reader not in gaze, path, name, sample.patient, *size, *values.values()))
    for phase, rows in enumerate(([], [], sheet), 1):
        write_table(root / "main_data" / f"metadata_phase_{phase}.csv", (*SHEET, *LABELS), rows)
    return count


def _write_reading(folder: Path, points: Array | None, masks: Mapping[str, Array], shape: tuple[int, ...]) -> None:
    if points is not None:
        write_table(folder / FIXATIONS, (*TIMES, *POSITIONS, *DEGREES, *SHOWN), _fixations(points, shape))
    rows = [
        (*corners, CERTAIN, *(name == label for name in LABELS))
        for label, mask in masks.items()
        for corners in _boxes(mask)
    ]
    write_table(folder / ELLIPSES, (*CORNERS, "certainty", *LABELS), rows)
    write_table(folder / CHEST, CORNERS, [(0, 0, shape[1], shape[0])])


def _fixations(points: Array, shape: tuple[int, ...]) -> Iterator[tuple[object, ...]]:
    starts = np.cumsum([0.0, *points[:, 2]])
    for start, end, (row, column, _) in zip(starts[:-1], starts[1:], points):
        yield start, end, row, column, DEGREE * shape[0], DEGREE * shape[0], 0, shape[0], 0, shape[1]


def _masks(annotations: Iterable[Annotation], names: Mapping[str, str]) -> dict[str, Array]:
    """The union of all masks and boxes of each label."""
    masks: dict[str, Array] = {}
    for annotation in annotations:
        if annotation.finding in names and annotation.kind != "density":
            label = names[annotation.finding]
            masks[label] = masks.get(label, False) | (np.asarray(annotation.values) >= 0.5)
    return masks


def _boxes(mask: Array) -> Iterator[tuple[int, int, int, int]]:
    """The boxes (left, top, right, bottom) around the connected parts of a mask."""
    for rows, columns in ndimage.find_objects(ndimage.label(mask)[0]):
        yield columns.start, rows.start, columns.stop, rows.stop
