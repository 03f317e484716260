"""The base class of datasets with gaze on the chest radiographs of MIMIC-CXR, which are a separate download."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field
from typing_extensions import TypeVar

from heatproof.component import Location
from heatproof.imaging.images import read_image
from heatproof.imaging.turning import require_known
from heatproof.records import Annotation, Array, Sample
from heatproof_cohorts.manifest import ListedDataset, ListedParams
from heatproof_dicom_files.writing import write_dicom
from heatproof_eyetracking.gaze import SCALES, Frames, Scale, joined

GAZE = "gaze"
EXTRAS = ("fixations", "fixation_readers")
FRAMES = "gaze_frames"


class MimicParams(ListedParams):
    """The folder of MIMIC-CXR (``images``, by default root), and the form of the gaze.

    ``scale`` sets the values of the static maps: ``sum`` adds up the fixations; ``linear`` and ``viridis_luma`` turn
    the sum into an image in 0 … 1, a target for training. ``frames`` adds a map per fixation, summed with its
    neighbours up to ``window`` fixations away.
    """

    images: Location | None = None
    scale: Scale = "sum"
    frames: bool = False
    window: int = Field(default=0, ge=0, le=100_000)


@dataclass(frozen=True)
class Reading:
    """The gaze of one reader: points (n, 3) of row, column (continuous native indices) and seconds, and the frames."""

    points: Array
    frames: Frames


P = TypeVar("P", bound=MimicParams, default=MimicParams, covariant=True)


class MimicDataset(ListedDataset[P]):
    """Radiographs with the gaze of their readers. A subclass implements ``listed`` and ``readings``.

    Every reading becomes a density ``gaze``, all zero where no fixation lies on the image. ``extras["fixations"]``
    holds the points (n, 3) of all readings and ``extras["fixation_readers"]`` (n,) the reader of each point. With the
    setting ``frames``, ``extras["gaze_frames"]`` holds the ``Frames`` of all readings, one after the other.
    """

    @property
    def extras(self) -> tuple[str, ...]:
        """The names of the values in ``Sample.extras``; the frames only where the settings add them."""
        return (*EXTRAS, FRAMES) if self.params.frames else EXTRAS

    @abstractmethod
    def readings(self, id: str, shape: tuple[int, ...]) -> Mapping[str, Reading]:
        """Reader → reading of an image (h, w); readers without a recording are left out."""
        raise NotImplementedError

    def image_path(self, name: str) -> Path:
        """The path of an image that a table names: what follows the last ``files/``, below the folder of MIMIC-CXR."""
        _, _, below = name.replace("\\", "/").rpartition("files/")
        return (self.params.images or self.params.root) / "files" / below

    def _entry(self, root: Path, path: Path) -> list[str | int]:
        if self.params.images is not None and not path.is_relative_to(root):
            root = self.params.images
        return super()._entry(root, path)

    def load(self, id: str) -> Sample:
        """Load a radiograph (1, h, w) as stored, with its label, patient, annotations and gaze."""
        entry = self.entry(id)
        image, geometry = read_image(entry.path)
        require_known(f"the gaze of {id}", geometry)
        shape = geometry.native
        readings = self.readings(id, shape)
        gaze = tuple(self._density(reader, reading) for reader, reading in readings.items())
        annotations = (*gaze, *self.annotations(id, geometry))
        return Sample(
            id, image, annotations, entry.label, self.patient(id), geometry, extras=self._extras(readings, shape)
        )

    def _density(self, reader: str, reading: Reading) -> Annotation:
        scale = SCALES[self.params.scale]
        values = scale(reading.frames.total())
        return Annotation(GAZE, values.astype(np.float32), "density", reader)

    def _extras(self, readings: Mapping[str, Reading], shape: tuple[int, ...]) -> dict[str, Array | Frames]:
        points = [reading.points for reading in readings.values()]
        counts = [len(part) for part in points]
        extras: dict[str, Array | Frames] = {
            "fixations": np.concatenate([np.zeros((0, 3)), *points]),
            "fixation_readers": np.repeat(np.array(list(readings), dtype=str), counts),
        }
        if self.params.frames:
            frames = [reading.frames for reading in readings.values()]
            if self.params.window:
                frames = [part.windowed(self.params.window) for part in frames]
            extras[FRAMES] = joined(frames, shape)
        return extras


def write_image(sample: Sample, root: Path, name: str, number: int) -> str:
    """Write a sample's image as a grey DICOM radiograph and return its path below root, as the tables name it.

    As in MIMIC-CXR, the path names a patient and a study by eight digits; each ``number`` has its own.
    """
    path = f"files/p10/p{10_000_000 + number}/s{50_000_000 + number}/{name}.dcm"
    image = sample.image
    if len(image) > 1:
        image = image.mean(axis=0, keepdims=True).round().astype(image.dtype)
    write_dicom(image, root / path, PatientID=sample.patient)
    return path
