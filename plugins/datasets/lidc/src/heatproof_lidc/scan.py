"""One CT series of the download: its slices, its patient, and what the XML beside it says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from heatproof.errors import DataError
from heatproof_dicom_files.headers import open_dicom

from .markup import CHARACTERISTICS, Mark, Markup, matched, read_markup


@dataclass(frozen=True)
class Scan:
    """One CT series: its folder and slices, its patient, and what was marked."""

    folder: Path
    slices: tuple[Path, ...]
    patient: str
    markup: Markup

    @property
    def id(self) -> str:
        """The patient and the last digits of the series, for some patients were scanned twice."""
        return f"{self.patient}_{self.markup.series[-8:].replace('.', '')}"

    @property
    def first(self) -> Path:
        """The first slice, or the place of one where none was downloaded."""
        return self.slices[0] if self.slices else self.folder / "*.dcm"

    @cached_property
    def nodules(self) -> list[tuple[Mark, ...]]:
        """The marks by nodule; a mark whose outlines enclose nothing is of none."""
        return matched([mark for mark in self.markup.marks if mark.pixels])

    @property
    def empty(self) -> list[str]:
        """The marks whose outlines enclose nothing."""
        return [f"{self.markup.path}: {mark.reader}, {mark.name}" for mark in self.markup.marks if not mark.pixels]


def read_scan(folder: Path) -> Scan | None:
    """The scan in a folder by its XML and the header of one slice; None where it is a chest radiograph.

    Raises ``DataError`` unless there is one XML, which can be read, and the slices are of the folder's patient.
    """
    slices, found = tuple(sorted(folder.glob("*.dcm"))), sorted(folder.glob("*.xml"))
    patient = folder.parent.parent.name
    header = open_dicom(slices[0], stop_before_pixels=True, specific_tags=["PatientID", "Modality"]) if slices else {}
    if header.get("Modality", "CT") != "CT":
        return None
    if len(found) != 1:
        raise DataError(
            f"{folder} holds {len(found)} XML files of annotations; one is needed, so complete or clear it."
        )
    markup = read_markup(found[0])
    if (named := str(header.get("PatientID") or patient)) != patient:
        raise DataError(f"{folder} holds slices of patient {named}, who would be in two splits; keep one folder each.")
    return None if markup is None else Scan(folder, slices, patient, markup)


def mean_ratings(marks: Iterable[Mark]) -> Mapping[str, float]:
    """The mean of each characteristic over the marks that rate it."""
    given = {name: [mark.ratings[name] for mark in marks if name in mark.ratings] for name in CHARACTERISTICS}
    return {name: sum(values) / len(values) for name, values in given.items() if values}
