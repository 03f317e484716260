"""Writes samples of any dataset in REFLACX' layout, as readings of phase 3."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from scipy.ndimage import find_objects, label

from heatproof.records import Annotation, Array, Sample
from heatproof_cohorts.manifest import ListedDataset, require_new
from heatproof_cohorts.tables import write_table
from heatproof_eyetracking.gaze import SIGMA, fixations_of
from heatproof_eyetracking.mimic import write_image

from .folder import CHEST, CORNERS, DEGREES, ELLIPSES, FIXATIONS, LABELS, PLACES, SHOWN, TIMES

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
    """Write samples under an empty folder; ``names`` are the labels by finding, ``parts`` the splits by their own."""
    require_new(root)
    sheet: Rows = []
    count = 0
    for count, sample in enumerate(samples, 1):
        name, split = dataset.name_to_write(sample), parts[dataset.split_to_write(sample)]
        path, place = write_image(sample, root, name, count), dataset.class_to_write(sample)
        gaze = fixations_of(sample)
        for reader in gaze or [""]:
            id = f"P300R{len(sheet) + 1:06d}"
            marks = [mark for mark in sample.annotations if mark.reader == reader or mark.reader not in gaze]
            _write_reading(root / "main_data" / id, gaze.get(reader), _masks(marks, names), sample.space)
            examined = {names[mark.finding] for mark in marks if mark.finding in names}
            values = [CERTAIN if place == at else 0 if each in examined else "" for at, each in enumerate(LABELS)]
            size = (sample.space[1], sample.space[0])
            sheet.append((id, split, reader not in gaze, path, name, sample.patient, *size, *values))
    for phase, rows in enumerate(([], [], sheet), 1):
        write_table(root / "main_data" / f"metadata_phase_{phase}.csv", (*SHEET, *LABELS), rows)
    return count


def _write_reading(folder: Path, points: Array | None, masks: Mapping[str, Array], shape: tuple[int, ...]) -> None:
    if points is not None:
        write_table(folder / FIXATIONS, (*TIMES, *PLACES, *DEGREES, *SHOWN), _fixations(points, shape))
    rows = [
        (*corners, CERTAIN, *(each == marked for each in LABELS))
        for marked, mask in masks.items()
        for corners in _boxes(mask)
    ]
    write_table(folder / ELLIPSES, (*CORNERS, "certainty", *LABELS), rows)
    write_table(folder / CHEST, CORNERS, [(0, 0, shape[1], shape[0])])


def _fixations(points: Array, shape: tuple[int, ...]) -> Iterator[tuple[object, ...]]:
    starts = np.cumsum([0.0, *points[:, 2]])
    for start, end, (row, column, _) in zip(starts[:-1], starts[1:], points):
        yield start, end, row, column, DEGREE * shape[0], DEGREE * shape[0], 0, shape[0], 0, shape[1]


def _masks(marks: Iterable[Annotation], names: Mapping[str, str]) -> dict[str, Array]:
    """Label → what any of these masks and boxes marks of it."""
    masks: dict[str, Array] = {}
    for mark in marks:
        if mark.finding in names and mark.kind != "density":
            name, values = names[mark.finding], np.asarray(mark.values) >= 0.5
            masks[name] = masks[name] | values if name in masks else values
    return masks


def _boxes(mask: Array) -> Iterator[tuple[int, int, int, int]]:
    """The boxes (left, top, right, bottom) round the connected parts of a mask."""
    for rows, columns in find_objects(label(mask)[0]):
        yield columns.start, rows.start, columns.stop, rows.stop
