"""One CT series of the download: its slices, its patient, and the annotations in its XML."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from heatproof.errors import DataError
from heatproof_dicom_files.headers import open_dicom

from .markup import CHARACTERISTICS, Markup, Reading, matched, read_markup


@dataclass(frozen=True)
class Scan:
    """One CT series: its folder and slices, its patient, and the content of its XML."""

    folder: Path
    slices: tuple[Path, ...]
    patient: str
    markup: Markup

    @property
    def id(self) -> str:
        """The patient and the last digits of the series, because some patients were scanned twice."""
        return f"{self.patient}_{self.markup.series[-8:].replace('.', '')}"

    @property
    def first(self) -> Path:
        """The first slice, or a pattern for slices where none was downloaded."""
        return next(iter(self.slices), self.folder / "*.dcm")

    @cached_property
    def nodules(self) -> list[tuple[Reading, ...]]:
        """The readings of each nodule, without readings that enclose nothing."""
        return matched([reading for reading in self.markup.readings if reading.pixels])

    @property
    def empty(self) -> list[str]:
        """XML, reader and name of each reading that encloses nothing."""
        return [
            f"{self.markup.path}: {reading.reader}, {reading.name}"
            for reading in self.markup.readings
            if not reading.pixels
        ]


def read_scan(folder: Path) -> Scan | None:
    """Read the XML and the header of one slice in a folder; return None for a chest radiograph.

    Raises ``DataError`` unless there is one readable XML, and the slices are of the patient after whom the folder is
    named.
    """
    slices = tuple(sorted(folder.glob("*.dcm")))
    header: Mapping[str, Any] = {}
    if slices:
        header = open_dicom(slices[0], stop_before_pixels=True, specific_tags=["PatientID", "Modality"])
    if header.get("Modality", "CT") != "CT":
        return None
    paths = sorted(folder.glob("*.xml"))
    if len(paths) != 1:
        raise DataError(f"{folder} must hold one XML file of annotations (got {len(paths)}); restore the folder.")
    markup = read_markup(paths[0])
    patient = folder.parent.parent.name
    owner = str(header.get("PatientID") or patient)
    if owner != patient:
        raise DataError(
            f"{folder} holds slices of patient {owner}, who would be in two splits; keep one folder per patient."
        )
    if markup is None:
        return None
    return Scan(folder, slices, patient, markup)


def scores(readings: Iterable[Reading]) -> Mapping[str, tuple[int, ...]]:
    """The ratings of each characteristic that some reading rates, in order of the readings."""
    values: dict[str, list[int]] = {}
    for reading in readings:
        for name, rating in reading.ratings.items():
            values.setdefault(name, []).append(rating)
    return {name: tuple(values[name]) for name in CHARACTERISTICS if name in values}


def mean_ratings(readings: Iterable[Reading]) -> Mapping[str, float]:
    """The mean of each characteristic over the readings that rate it."""
    return {name: sum(values) / len(values) for name, values in scores(readings).items()}
