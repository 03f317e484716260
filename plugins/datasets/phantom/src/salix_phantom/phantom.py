"""The phantom dataset: synthetic fundus photographs of any number of patients, drawn when they are loaded."""

import re

from pydantic import Field

from salix.component import Params
from salix.dataset import Dataset
from salix.errors import DataError
from salix.records import Annotation, Geometry, Sample

from .drawing import draw
from .patients import eyes

LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
BLOCKS = {"train": range(6), "tuning": range(6, 8), "test": range(8, 10)}


class PhantomParams(Params):
    """How many patients, from which seed, and how high the pictures are in pixels (width / height = 4288 / 2848)."""

    patients: int = Field(default=40, ge=1)
    seed: int = Field(default=0, ge=0)
    height: int = Field(default=712, ge=64, le=2848)
    optic_disc: bool = False


class Phantom(Dataset):
    """Synthetic fundus photographs with exact masks of four lesion types; no pixel comes from a person.

    A patient has two eyes and belongs to a split by the last digit of the patient's number (0–5 train, 6–7 tuning,
    8–9 test), so that more patients never move one between splits. The label is the grade (0–4) that follows from the
    lesions drawn.
    """

    Params = PhantomParams
    params: PhantomParams
    revision = 1
    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    findings = (*LESIONS, "optic_disc")
    splits = ("train", "tuning", "test")
    tuning = "tuning"
    synthetic = True

    def ids(self, split: str | None = None) -> list[str]:
        """``synthetic_00012_left`` and so on, by patient and eye."""
        self.require_split(split)
        digits = {digit for name, block in BLOCKS.items() if split in (None, name) for digit in block}
        patients = (patient for patient in range(self.params.patients) if patient % 10 in digits)
        return [f"synthetic_{patient:05d}_{eye}" for patient in patients for eye in ("left", "right")]

    def group(self, id: str) -> str:
        """The patient's number."""
        return f"{self._patient(id)[0]:05d}"

    def grade(self, id: str) -> int:
        """The grade of an eye, without drawing it."""
        patient, eye = self._patient(id)
        return eyes(patient, self.params.seed)[eye].grade

    def load(self, id: str) -> Sample:
        """Draw one eye: image (3, height, width) uint8, one mask per finding, all zero where absent."""
        patient, eye = self._patient(id)
        drawing = draw(patient, eye, self.params.seed, self.params.height)
        wanted = self.findings if self.params.optic_disc else LESIONS
        return Sample(
            id=id,
            image=drawing.image,
            annotations=tuple(Annotation(finding, drawing.masks[finding], reader="phantom") for finding in wanted),
            label=drawing.grade,
            group=self.group(id),
            geometry=Geometry.identity(drawing.image.shape[1:], f"phantom seed {self.params.seed} {id}"),
            field=drawing.field,
        )

    def _patient(self, id: str) -> tuple[int, str]:
        match = re.fullmatch(r"synthetic_(\d{5,})_(left|right)", id)
        if match is None or int(match[1]) >= self.params.patients:
            raise DataError(
                f"phantom has no sample {id!r}; ids are synthetic_00000_left to "
                f"synthetic_{self.params.patients - 1:05d}_right."
            )
        return int(match[1]), match[2]
