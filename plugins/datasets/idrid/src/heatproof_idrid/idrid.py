"""The Indian Diabetic Retinopathy Image Dataset: lesions (part A), grades (part B), optic disc and fovea (part C)."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from heatproof.dataset import Dataset, Tally
from heatproof.records import Attribute, Sample

from .grading import Grading
from .localization import Localization
from .segmentation import Segmentation
from .settings import IdridParams

PARTS: dict[str, type[Dataset]] = {"segmentation": Segmentation, "grading": Grading, "localization": Localization}


class Idrid(Dataset[IdridParams]):
    """81 fundus photographs with masks of lesions, 516 with grades, and the same 516 with optic disc and fovea.

    Porwal et al. 2018, "Indian Diabetic Retinopathy Image Dataset (IDRiD): A Database for Diabetic Retinopathy
    Screening Research", Data 3(3):25, doi:10.3390/data3030025. The official training set of each part is the tuning
    split, the testing set the test split. Neither patients were published, so each image is its own patient, nor which
    photographs of parts A and B are the same, so part A has no grades.
    """

    splits = ("tuning", "test")
    tuning = "tuning"
    citation = "Porwal et al. 2018, Data 3(3):25, doi:10.3390/data3030025 (CC BY 4.0)"
    licence = "CC BY 4.0"
    obtain = "download the part from the page 'Indian Diabetic Retinopathy Image Dataset (IDRiD)' of IEEE DataPort"

    @cached_property
    def part(self) -> Dataset:
        """The dataset of the selected part, registered under the name of this one."""
        part = PARTS[self.params.part](**dict(self.params))
        part.registered = self.registered
        return part

    @property
    def classes(self) -> tuple[str, ...]:
        """The grades of part B, empty in other parts."""
        return self.part.classes

    @property
    def findings(self) -> tuple[str, ...]:
        """The lesions and the optic disc of part A, empty in other parts."""
        return self.part.findings

    @property
    def extras(self) -> tuple[str, ...]:
        """The risk of macular oedema in part B, the two centres in part C."""
        return self.part.extras

    @property
    def attributes(self) -> tuple[str, ...]:
        """The grade and the risk of part B, empty in other parts."""
        return self.part.attributes

    def attributes_of(self, id: str) -> Mapping[str, Attribute]:
        """The attributes of a sample of the part."""
        return self.part.attributes_of(id)

    def ids(self, split: str | None = None) -> list[str]:
        """Ids such as ``IDRiD_01`` in part A, ``IDRiD_001_training`` and ``IDRiD_001_testing`` in parts B and C."""
        return self.part.ids(split)

    def patient(self, id: str) -> str:
        """The id, because patients were not published."""
        return self.part.patient(id)

    def files(self) -> Iterable[Path]:
        """The tables, images and masks of the part."""
        return self.part.files()

    def files_of(self, id: str) -> Iterable[Path] | None:
        """The image, and in part A its masks."""
        return self.part.files_of(id)

    def content(self) -> str:
        """The digest of these files."""
        return self.part.content()

    def _identity_params(self) -> dict[str, Any]:
        """The Params of the identity: for part A without the newer ones, to keep earlier results valid."""
        params = super()._identity_params()
        if self.params.part == "segmentation":
            del params["part"], params["absent"]
        return params

    def load(self, id: str) -> Sample:
        """Load one image (3, h, w) uint8 with the annotations, the label or the extras of the part."""
        return self.part.load(id)

    def rejected(self) -> list[Tally]:
        """The faults of the tables of the part."""
        return self.part.rejected()

    def check(self) -> list[Tally]:
        """Compare counts with the published ones and decode every file, which takes about 15 s for part A."""
        return self.part.check()

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples in the layout of the part under an empty folder; return their number."""
        return self.part.write(samples, root)
