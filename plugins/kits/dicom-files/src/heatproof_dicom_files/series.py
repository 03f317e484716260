"""Lists the slices of a CT scan in order and checks the series for gaps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from heatproof.errors import DataError

from .headers import explained, open_dicom, side

EVEN = 0.1
"""How far two gaps between slices may differ, as a share of the gap, since headers round positions."""
HEADER = (
    "SOPInstanceUID", "SeriesInstanceUID", "PatientID", "Modality", "Rows", "Columns", "PixelSpacing",
    "ImageOrientationPatient", "ImagePositionPatient",
)  # fmt: skip
SHARED = ("SeriesInstanceUID", "PatientID", "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")


@dataclass(frozen=True)
class Slice:
    """One slice of a series: its file, its SOPInstanceUID and the position (x, y, z) of its first pixel in mm."""

    path: Path
    uid: str
    position: tuple[float, float, float]


@dataclass(frozen=True)
class Series:
    """The slices of a CT scan, axial ones from foot to head, and what their headers share; spacing (z, y, x) in mm."""

    slices: tuple[Slice, ...]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orientation: str
    uid: str
    patient: str


def list_series(paths: Iterable[Path]) -> Series:
    """Order the slices of one CT scan by their headers alone.

    Raises ``DataError`` for files of several series, for slices that are repeated or missing, and for fewer than two
    slices.
    """
    headers = [_header(path) for path in paths]
    if len(headers) < 2:
        source = next((str(part.path) for _, part in headers), "the series")
        raise DataError(
            f"{source} holds too few slices ({len(headers)}); give at least two, to measure their distance."
        )
    first, first_slice = headers[0]
    for data, part in headers:
        _require_alike(first, data, first_slice.path, part.path)
    across, down = np.reshape([float(value) for value in first.ImageOrientationPatient], (2, 3))
    normal = np.cross(across, down)
    slices = sorted((part for _, part in headers), key=lambda part: float(normal @ part.position))
    step = _step(slices, [float(normal @ part.position) for part in slices])
    return Series(
        tuple(slices),
        (len(slices), int(first.Rows), int(first.Columns)),
        (step, float(first.PixelSpacing[0]), float(first.PixelSpacing[1])),
        "".join(side(axis) for axis in (normal, down, across)),
        str(first.SeriesInstanceUID),
        str(first.get("PatientID", "")),
    )


def _header(path: Path) -> tuple[Any, Slice]:
    """Read the header of a slice; raises ``DataError`` unless it is a CT slice with a position."""
    data = open_dicom(path, stop_before_pixels=True, specific_tags=list(HEADER))
    with explained(path):
        absent = [name for name in HEADER if not data.get(name) and name != "PatientID"]
        if absent:
            raise DataError(f"{path} has no {', '.join(absent)}; leave out files that are not slices of a CT scan.")
        if data.Modality != "CT":
            raise DataError(f"{path} is of modality {data.Modality}; leave out files that are not slices of a CT scan.")
        x, y, z = (float(value) for value in data.ImagePositionPatient)
    return data, Slice(path, str(data.SOPInstanceUID), (x, y, z))


def _require_alike(first: Any, second: Any, first_path: Path, second_path: Path) -> None:
    """Raise ``DataError`` where two headers differ in a value that all slices of a scan share."""
    for name in SHARED:
        if first.get(name) != second.get(name):
            raise DataError(
                f"{first_path} and {second_path} differ in {name} ({first.get(name)}, {second.get(name)}); "
                "give the slices of one series."
            )


def _step(slices: Sequence[Slice], positions: Sequence[float]) -> float:
    """Compute the distance between slices in mm; raises ``DataError`` naming slices that are repeated or uneven."""
    gaps = np.diff(positions)
    usual = float(median_low([gap for gap in gaps if gap > 0] or [0.0]))
    for before, after, gap in zip(slices, slices[1:], gaps):
        if before.uid == after.uid or gap <= EVEN * usual:
            raise DataError(f"{before.path} and {after.path} are the same slice twice; delete one of them.")
        if abs(gap - usual) > EVEN * usual:
            raise DataError(
                f"{before.path} and {after.path} are {gap:g} mm apart, other slices {usual:g} mm: slices are missing "
                "or belong to another scan; complete the series, or leave it out."
            )
    return float((positions[-1] - positions[0]) / len(gaps))
