"""The phantom dataset: synthetic images of any number of patients, drawn when they are loaded."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from heatproof.component import Params, Seed
from heatproof.dataset import Dataset
from heatproof.errors import DataError
from heatproof.records import Attribute, Geometry, Label, Sample

from .subject import LESIONS as LESIONS
from .subject import SUBJECTS, Subject

BLOCKS = {"train": range(6), "tuning": range(6, 8), "test": range(8, 10)}


class PhantomParams(Params):
    """Number of patients, seed, height of the images in pixels, and subject.

    The width is 4288 / 2848 of the height for an eye and 2544 / 3056 for a chest. A thorax is as wide as high, at most
    192 voxels, and half as deep. ``optic_disc`` adds that finding to eyes.
    """

    patients: int = Field(default=40, ge=1, le=100_000)
    seed: Seed = 0
    height: int = Field(default=712, ge=64, le=2848)
    optic_disc: bool = False
    subject: Literal["eye", "chest", "thorax"] = "eye"


class Phantom(Dataset[PhantomParams]):
    """Synthetic images with exact masks; no pixel comes from a person.

    ``eye``: fundus photographs with four types of lesions; the label is the grade (0–4) that follows from them.
    ``chest``: radiographs of normal chests, enlarged hearts and opacities, with the gaze of three synthetic readers.
    ``thorax``: CT volumes with nodules that four synthetic readers outline and rate, without label.
    A patient has one thorax, or two images of another subject. The last digit of a patient's number decides the split
    (0–5 train, 6–7 tuning, 8–9 test); adding patients therefore moves none to another split.
    """

    revision = 1
    splits = ("train", "tuning", "test")
    tuning = "tuning"
    synthetic = True

    @property
    def subject(self) -> Subject:
        """The subject that is drawn."""
        return SUBJECTS[self.params.subject]

    @property
    def classes(self) -> tuple[str, ...]:
        """The subject's classes."""
        return self.subject.classes

    @property
    def findings(self) -> tuple[str, ...]:
        """The subject's findings; the optional ones if they are asked for."""
        return tuple(name for name in self.subject.findings if name not in self._hidden)

    @property
    def _hidden(self) -> tuple[str, ...]:
        """The findings that are not asked for."""
        if self.params.optic_disc:
            return ()
        return self.subject.optional

    @property
    def extras(self) -> tuple[str, ...]:
        """The subject's extras."""
        return self.subject.extras

    @property
    def attributes(self) -> tuple[str, ...]:
        """The subject's attributes: the side and the number of lesions of an eye, for example."""
        return tuple(self.subject.attributes)

    def attributes_of(self, id: str) -> Mapping[str, Attribute]:
        """The attributes of the plan of an image, without drawing it."""
        plan = (*self._patient(id), self.params.seed)
        return {name: value(*plan) for name, value in self.subject.attributes.items()}

    def ids(self, split: str | None = None) -> list[str]:
        """Ids such as ``synthetic_00012_left``, by patient and view."""
        self.require_split(split)
        ids = []
        for patient in range(self.params.patients):
            if split is None or patient % 10 in BLOCKS[split]:
                ids += [f"synthetic_{patient:05d}_{view}" for view in self.subject.views]
        return ids

    def patient(self, id: str) -> str:
        """The patient's number."""
        return f"{self._patient(id)[0]:05d}"

    def grade(self, id: str) -> Label:
        """The class of an image, without drawing it."""
        return self.subject.label(*self._patient(id), self.params.seed)

    def load(self, id: str) -> Sample:
        """Draw one image (c, *space), with a mask per finding, all zero where absent."""
        sample = self.subject.draw(*self._patient(id), self.params.seed, self.params.height)
        return replace(
            sample,
            id=id,
            annotations=tuple(annotation for annotation in sample.annotations if annotation.finding in self.findings),
            patient=self.patient(id),
            geometry=sample.geometry or Geometry.identity(sample.space, f"phantom seed {self.params.seed} {id}"),
        )

    def _identity_params(self) -> dict[str, Any]:
        """The Params that enter the identity: without the default subject, to keep earlier results valid."""
        params = super()._identity_params()
        return {name: value for name, value in params.items() if (name, value) != ("subject", "eye")}

    def _patient(self, id: str) -> tuple[int, str]:
        views = self.subject.views
        match = re.fullmatch(rf"synthetic_(\d{{5,}})_({'|'.join(views)})", id)
        if match is None or int(match[1]) >= self.params.patients:
            raise DataError(
                f"phantom has no sample {id!r}; ids are synthetic_00000_{views[0]} to "
                f"synthetic_{self.params.patients - 1:05d}_{views[-1]}."
            )
        return int(match[1]), match[2]
