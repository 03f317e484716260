"""Datasets of gaze on chest radiographs of MIMIC-CXR, whose images lie in a download of their own."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field
from typing_extensions import TypeVar

from heatproof.component import Location
from heatproof.imaging.images import read_image
from heatproof.records import Annotation, Array, Sample
from heatproof_cohorts.manifest import ListedDataset, ListedParams
from heatproof_dicom_files.writing import write_dicom
from heatproof_eyetracking.gaze import SCALES, Frames, Scale, joined

GAZE = "gaze"
EXTRAS = ("fixations", "fixation_readers", "gaze_frames")


class MimicParams(ListedParams):
    """Where MIMIC-CXR lies (None: under root too), and how gaze is given.

    ``scale`` is that of the static maps: the plain sum, or an image as a training target. ``frames`` adds a map per
    fixation, each with its neighbours up to ``window`` fixations away.
    """

    images: Location | None = None
    scale: Scale = "sum"
    frames: bool = False
    window: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Reading:
    """Where one reader looked: points (n, 3) of row, column (continuous native indices) and seconds, and the frames."""

    points: Array
    frames: Frames


P = TypeVar("P", bound=MimicParams, default=MimicParams, covariant=True)


class MimicDataset(ListedDataset[P]):
    """Radiographs with the gaze of those who read them. A subclass gives ``listed`` and ``readings``.

    Every reading makes a density ``gaze``, all zero where no fixation lies on the image. ``extras["fixations"]`` are
    the points (n, 3) of all readings, ``extras["fixation_readers"]`` (n,) says whose they are; on request
    ``extras["gaze_frames"]`` are their ``Frames``, one after the other.
    """

    extras: tuple[str, ...] = EXTRAS

    @abstractmethod
    def readings(self, id: str, shape: tuple[int, ...]) -> Mapping[str, Reading]:
        """Reader → reading of an image (h, w); a reader of whom nothing was recorded is not there."""
        raise NotImplementedError

    def image_path(self, listed: str) -> Path:
        """The file that a table names: from the last ``files/`` on, below the folder of MIMIC-CXR."""
        below = listed.replace("\\", "/").rpartition("files/")[2]
        return (self.params.images or self.params.root) / "files" / below

    def _entry(self, root: Path, path: Path) -> list[str | int]:
        within = path.is_relative_to(root) or self.params.images is None
        return super()._entry(root if within else self.params.images or root, path)

    def load(self, id: str) -> Sample:
        """One radiograph (1, h, w) as stored, with its label, patient, annotations and gaze."""
        entry = self.entry(id)
        image, geometry = read_image(entry.path)
        shape = geometry.native
        readings = self.readings(id, shape)
        gaze = tuple(self._density(reader, reading) for reader, reading in readings.items())
        annotations = (*gaze, *self.annotations(id, shape))
        return Sample(
            id, image, annotations, entry.label, self.patient(id), geometry, extras=self._extras(readings, shape)
        )

    def _density(self, reader: str, reading: Reading) -> Annotation:
        values = SCALES[self.params.scale](reading.frames.total())
        return Annotation(GAZE, values.astype(np.float32), "density", reader)

    def _extras(self, readings: Mapping[str, Reading], shape: tuple[int, ...]) -> dict[str, Array | Frames]:
        points = [reading.points for reading in readings.values()]
        extras: dict[str, Array | Frames] = {
            "fixations": np.concatenate([np.zeros((0, 3)), *points]),
            "fixation_readers": np.repeat(np.array(list(readings), dtype=str), list(map(len, points))),
        }
        if self.params.frames:
            parts = [reading.frames for reading in readings.values()]
            extras["gaze_frames"] = joined(
                [part.windowed(self.params.window) if self.params.window else part for part in parts], shape
            )
        return extras


def write_image(sample: Sample, root: Path, name: str, number: int) -> str:
    """Write a sample's image as a DICOM radiograph, colours as grey; its path as tables name it, a study of its own."""
    path = f"files/p10/p{10_000_000 + number}/s{50_000_000 + number}/{name}.dcm"
    image = sample.image
    grey = image if len(image) == 1 else image.mean(axis=0, keepdims=True).round().astype(image.dtype)
    write_dicom(grey, root / path, PatientID=sample.patient)
    return path
