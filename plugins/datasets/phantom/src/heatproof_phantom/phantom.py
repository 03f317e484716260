"""The phantom dataset: synthetic images of any number of patients, drawn when they are loaded."""

import re
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from heatproof.component import Params
from heatproof.dataset import Dataset
from heatproof.errors import DataError
from heatproof.records import Geometry, Label, Sample

from .subject import LESIONS as LESIONS
from .subject import SUBJECTS, Subject

BLOCKS = {"train": range(6), "tuning": range(6, 8), "test": range(8, 10)}


class PhantomParams(Params):
    """How many patients, from which seed, how high the images are in pixels, and what they show.

    The width follows: 4288 / 2848 of the height for an eye, 2544 / 3056 for a chest; a thorax is as wide as high, at
    most 192 voxels, and half as long. ``optic_disc`` adds that finding to eyes.
    """

    patients: int = Field(default=40, ge=1)
    seed: int = Field(default=0, ge=0)
    height: int = Field(default=712, ge=64, le=2848)
    optic_disc: bool = False
    subject: Literal["eye", "chest", "thorax"] = "eye"


class Phantom(Dataset[PhantomParams]):
    """Synthetic images with exact masks; no pixel comes from a person.

    ``eye``: fundus photographs with four lesion types, the label being the grade (0–4) that follows from them.
    ``chest``: radiographs of normal chests, enlarged hearts and opacities, with the gaze of three synthetic readers.
    ``thorax``: CT volumes with nodules, each outlined and rated by four synthetic readers, one per patient, no label.
    Otherwise a patient has two images. The split follows from the last digit of the patient's number (0–5 train,
    6–7 tuning, 8–9 test), so that more patients never move one between splits.
    """

    revision = 1
    splits = ("train", "tuning", "test")
    tuning = "tuning"
    synthetic = True

    @property
    def subject(self) -> Subject:
        """What is drawn."""
        return SUBJECTS[self.params.subject]

    @property
    def classes(self) -> tuple[str, ...]:
        """The subject's classes."""
        return self.subject.classes

    @property
    def findings(self) -> tuple[str, ...]:
        """The subject's findings."""
        return self.subject.findings

    @property
    def extras(self) -> tuple[str, ...]:
        """The subject's extras."""
        return self.subject.extras

    def ids(self, split: str | None = None) -> list[str]:
        """``synthetic_00012_left`` and so on, by patient and view."""
        self.require_split(split)
        digits = {digit for name, block in BLOCKS.items() if split in (None, name) for digit in block}
        patients = (patient for patient in range(self.params.patients) if patient % 10 in digits)
        return [f"synthetic_{patient:05d}_{view}" for patient in patients for view in self.subject.views]

    def patient(self, id: str) -> str:
        """The patient's number."""
        return f"{self._patient(id)[0]:05d}"

    def grade(self, id: str) -> Label:
        """The class of an image, without drawing it."""
        return self.subject.label(*self._patient(id), self.params.seed)

    def load(self, id: str) -> Sample:
        """Draw one image (c, height, width), with a mask per finding, all zero where absent."""
        sample = self.subject.draw(*self._patient(id), self.params.seed, self.params.height)
        hidden = () if self.params.optic_disc else self.subject.optional
        return replace(
            sample,
            id=id,
            annotations=tuple(mark for mark in sample.annotations if mark.finding not in hidden),
            patient=self.patient(id),
            geometry=sample.geometry or Geometry.identity(sample.space, f"phantom seed {self.params.seed} {id}"),
        )

    def _keyed(self) -> dict[str, Any]:
        """The Params of the identity: what is drawn unless told otherwise does not change that of earlier results."""
        keyed = super()._keyed()
        return {name: value for name, value in keyed.items() if (name, value) != ("subject", "eye")}

    def _patient(self, id: str) -> tuple[int, str]:
        views = self.subject.views
        match = re.fullmatch(rf"synthetic_(\d{{5,}})_({'|'.join(views)})", id)
        if match is None or int(match[1]) >= self.params.patients:
            raise DataError(
                f"phantom has no sample {id!r}; ids are synthetic_00000_{views[0]} to "
                f"synthetic_{self.params.patients - 1:05d}_{views[-1]}."
            )
        return int(match[1]), match[2]
