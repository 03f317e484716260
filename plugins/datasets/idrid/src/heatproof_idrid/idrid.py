"""The Indian Diabetic Retinopathy Image Dataset: lesions (part A), grades (part B), optic disc and fovea (part C)."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from heatproof.dataset import Dataset, Tally
from heatproof.records import Sample

from .grading import Grading
from .localization import Localization
from .segmentation import Segmentation
from .settings import IdridParams

PARTS: dict[str, type[Dataset]] = {"segmentation": Segmentation, "grading": Grading, "localization": Localization}


class Idrid(Dataset[IdridParams]):
    """81 fundus photographs with outlined lesions, 516 with grades, and the same 516 with optic disc and fovea.

    Porwal et al. 2018, "Indian Diabetic Retinopathy Image Dataset (IDRiD): A Database for Diabetic Retinopathy
    Screening Research", Data 3(3):25, doi:10.3390/data3030025. The official training set of each part is the tuning
    split, the testing set the test split. No patients were published: each image is its own patient. Which photographs
    of part A are which of parts B and C was not published either, so part A has no grades.
    """

    splits = ("tuning", "test")
    tuning = "tuning"
    citation = "Porwal et al. 2018, Data 3(3):25, doi:10.3390/data3030025 (CC BY 4.0)"
    licence = "CC BY 4.0"
    obtain = "download the part from the page 'Indian Diabetic Retinopathy Image Dataset (IDRiD)' of IEEE DataPort"

    @cached_property
    def part(self) -> Dataset:
        """The part that is read, as a dataset of its own under this one's name."""
        part = PARTS[self.params.part](**dict(self.params))
        part.registered = self.registered
        return part

    @property
    def classes(self) -> tuple[str, ...]:
        """The grades, of part B alone."""
        return self.part.classes

    @property
    def findings(self) -> tuple[str, ...]:
        """The lesions and the optic disc, of part A alone."""
        return self.part.findings

    @property
    def extras(self) -> tuple[str, ...]:
        """The risk of macular oedema in part B, the two centres in part C."""
        return self.part.extras

    def ids(self, split: str | None = None) -> list[str]:
        """``IDRiD_01`` in part A; ``IDRiD_001_training``, ``IDRiD_001_testing`` in B and C, which count anew."""
        return self.part.ids(split)

    def patient(self, id: str) -> str:
        """The id."""
        return self.part.patient(id)

    def files(self) -> Iterable[Path]:
        """The tables, images and masks of the part."""
        return self.part.files()

    def content(self) -> str:
        """The digest of these files."""
        return self.part.content()

    def _keyed(self) -> dict[str, Any]:
        """Part A is keyed as it was when it was the only one."""
        keyed = super()._keyed()
        newer = ("part", "absent") if self.params.part == "segmentation" else ()
        return {name: value for name, value in keyed.items() if name not in newer}

    def load(self, id: str) -> Sample:
        """One image (3, h, w) uint8 with what the part says of it."""
        return self.part.load(id)

    def rejected(self) -> list[Tally]:
        """What is wrong with the tables of the part."""
        return self.part.rejected()

    def check(self) -> list[Tally]:
        """The part against the published counts; every file is decoded, which takes some 15 s for part A."""
        return self.part.check()

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples in the layout of the part under an empty folder; the number written."""
        return self.part.write(samples, root)
