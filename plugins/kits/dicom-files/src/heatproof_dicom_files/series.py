"""CT scans: the slices of a DICOM series, put in order and tried for gaps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from heatproof.errors import DataError

from .headers import explained, open_dicom, side

EVEN = 0.1
"""How far two gaps between slices may differ, as a share of the gap: headers round positions."""

HEADER = (
    "SOPInstanceUID", "SeriesInstanceUID", "PatientID", "Modality", "Rows", "Columns", "PixelSpacing",
    "ImageOrientationPatient", "ImagePositionPatient",
)  # fmt: skip
SHARED = ("SeriesInstanceUID", "PatientID", "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")


@dataclass(frozen=True)
class Slice:
    """One slice of a series: its file, its SOPInstanceUID and where its first pixel lies on the patient, in mm."""

    path: Path
    uid: str
    place: tuple[float, float, float]


@dataclass(frozen=True)
class Series:
    """The slices of a CT scan by their headers, from foot to head for axial ones; spacing (z, y, x) in mm."""

    slices: tuple[Slice, ...]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orientation: str
    uid: str
    patient: str


def list_series(paths: Iterable[Path]) -> Series:
    """The slices of one CT scan in order, by their headers alone.

    Raises ``DataError`` for files of several series, slices that are double or missing, and fewer than two slices.
    """
    headers = [_header(path) for path in paths]
    if len(headers) < 2:
        where = headers[0][1].path if headers else "the series"
        raise DataError(f"{where} holds {len(headers)} slices; at least two show how far apart slices are.")
    first = headers[0][0]
    for data, part in headers:
        _require_alike(first, data, headers[0][1].path, part.path)
    across, down = np.reshape([float(value) for value in first.ImageOrientationPatient], (2, 3))
    normal = np.cross(across, down)
    parts = sorted((part for _, part in headers), key=lambda part: float(normal @ part.place))
    step = _step(parts, [float(normal @ part.place) for part in parts])
    return Series(
        tuple(parts),
        (len(parts), int(first.Rows), int(first.Columns)),
        (step, float(first.PixelSpacing[0]), float(first.PixelSpacing[1])),
        "".join(side(axis) for axis in (normal, down, across)),
        str(first.SeriesInstanceUID),
        str(first.get("PatientID", "")),
    )


def _header(path: Path) -> tuple[Any, Slice]:
    """What a slice says of itself; raises ``DataError`` unless it is CT with a position."""
    data = open_dicom(path, stop_before_pixels=True, specific_tags=list(HEADER))
    with explained(path):
        absent = [name for name in HEADER if not data.get(name) and name != "PatientID"]
        if absent or data.Modality != "CT":
            reason = f"has no {', '.join(absent)}" if absent else f"is of modality {data.Modality}"
            raise DataError(f"{path} {reason}; a scan is made of slices of CT with their place; leave it out.")
        x, y, z = (float(value) for value in data.ImagePositionPatient)
    return data, Slice(path, str(data.SOPInstanceUID), (x, y, z))


def _require_alike(one: Any, other: Any, path: Path, other_path: Path) -> None:
    """Raise ``DataError`` where two slices differ in what all slices of a scan share."""
    for name in SHARED:
        if one.get(name) != other.get(name):
            raise DataError(
                f"{path} and {other_path} differ in {name} ({one.get(name)}, {other.get(name)}); "
                "give the slices of one series."
            )


def _step(parts: Sequence[Slice], positions: Sequence[float]) -> float:
    """The distance between slices in mm; raises ``DataError`` naming those that are double, missing or uneven."""
    gaps = np.diff(positions)
    usual = float(median_low([gap for gap in gaps if gap > 0] or [0.0]))
    for before, after, gap in zip(parts, parts[1:], gaps):
        if before.uid == after.uid or gap <= EVEN * usual:
            raise DataError(f"{before.path} and {after.path} are one slice twice; delete one of them.")
        if abs(gap - usual) > EVEN * usual:
            raise DataError(
                f"between {before.path} and {after.path} lie {gap:g} mm, elsewhere {usual:g}; slices are missing or "
                "of another scan: complete the series, or leave it out."
            )
    return float((positions[-1] - positions[0]) / len(gaps))
