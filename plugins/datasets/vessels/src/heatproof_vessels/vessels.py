"""Vessels of the retina: the masks of two readers on the fundus photographs of CHASE_DB1 and DRIVE."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from heatproof.component import Seed
from heatproof.errors import DataError
from heatproof.imaging.images import read_mask
from heatproof.records import Annotation, Array, Geometry, Sample
from heatproof_cohorts.image_files import write_binary, write_image
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, require_new
from heatproof_cohorts.partition import SPLITS, Shares, split_of
from heatproof_cohorts.tables import write_table

from .layout import FIELD, IMAGE, NAMES, READERS, Layout, find

SIDES = {"L": "left", "R": "right"}
PARTS = {"training": "train", "test": "test"}
SELECTED = {"first": ("first",), "second": ("second",), "both": READERS}


class VesselsParams(ListedParams):
    """The dataset, the readers whose masks annotate the images, and the division of the patients of CHASE_DB1."""

    source: Literal["chase_db1", "drive"] = "chase_db1"
    readers: Literal["first", "second", "both"] = "first"
    shares: Shares = Shares()
    seed: Seed = 0


class Vessels(ListedDataset[VesselsParams]):
    """Photographs with masks of all vessels: 28 of 14 children (``chase_db1``), or 40, half for training (``drive``).

    CHASE_DB1: Fraz et al. 2012, "An ensemble classification-based approach applied to retinal blood vessel
    segmentation", IEEE Transactions on Biomedical Engineering 59(9):2538–2548, doi:10.1109/TBME.2012.2205687. Both
    readers annotated all images. There is no published division, so children are divided by name and seed.
    DRIVE: Staal et al. 2004, "Ridge-based vessel segmentation in color images of the retina", IEEE Transactions on
    Medical Imaging 23(4):501–509, doi:10.1109/TMI.2004.825627. The second reader annotated the test images only; newer
    downloads hold no mask of the test images at all. Every image has a mask of the field of view and is of a patient
    of its own.

    An image without the mask of a reader was not examined by this reader. The names of the files are those that public
    loaders read; no published file was read.
    """

    findings = ("vessels",)
    splits = SPLITS
    citation = (
        "Fraz et al. 2012, IEEE TBME 59(9):2538-2548, doi:10.1109/TBME.2012.2205687; Staal et al. 2004, IEEE TMI "
        "23(4):501-509, doi:10.1109/TMI.2004.825627"
    )
    licence = "CHASE_DB1: CC BY 4.0; DRIVE: the terms of its challenge, for research only; check the pages before use"

    @property
    def tuning(self) -> str:
        """The training images of DRIVE, which has no tuning images."""
        if self.params.source == "drive":
            return "train"
        return "tuning"

    @property
    def readers(self) -> tuple[str, ...]:
        """The readers whose masks are read."""
        return SELECTED[self.params.readers]

    @property
    def obtain(self) -> str:
        """Where the dataset is published."""
        if self.params.source == "drive":
            return "obtain it from the page 'DRIVE: Digital Retinal Images for Vessel Extraction' of Grand Challenge"
        return "obtain it from the page 'CHASE_DB1 retinal image database' of Kingston University"

    @property
    def published(self) -> Mapping[str, int]:
        """The counts of the authors."""
        if self.params.source == "drive":
            return {"samples": 40, "patients": 40, "samples in train": 20, "samples in test": 20}
        return {"samples": 28, "patients": 14}

    @cached_property
    def layout(self) -> Layout:
        """The files below root."""
        return find(self.params.root, NAMES[self.params.source])

    def listed(self) -> Listing:
        """List the images; raises ``DataError`` where there is none."""
        entries = dict(self._entries())
        if not entries:
            example = NAMES[self.params.source].example
            raise DataError(f"{self.params.root} holds no image such as {example}; {self.obtain}.")
        unused = {
            f"images without the mask of the {reader} reader": self._without(reader)
            for reader in SELECTED[self.params.readers]
        }
        unused["images without a mask of the field of view"] = self._without(FIELD)
        return Listing(entries, {"masks without an image": list(map(str, self.layout.stray))}, unused)

    def _entries(self) -> Iterator[tuple[str, ListedSample]]:
        for id, match in sorted(self.layout.matches.items()):
            split = split_of(match["patient"], self.params.shares, self.params.seed)
            if self.params.source == "drive":
                split = PARTS[match["part"].lower()]
            path = self.layout.files[id, IMAGE]
            known = {} if self.params.source == "drive" else {"laterality": SIDES[id[-1].upper()]}
            yield id, ListedSample(path, split, patient=match["patient"], source=str(path), attributes=known)

    def _without(self, role: str) -> list[str]:
        return [id for id in sorted(self.layout.matches) if (id, role) not in self.layout.files]

    def marks(self, id: str) -> Iterable[Path]:
        """The masks of the selected readers and of the field of view, where they exist."""
        roles = (*SELECTED[self.params.readers], FIELD)
        return [self.layout.files[id, role] for role in roles if (id, role) in self.layout.files]

    def annotations(self, id: str, geometry: Geometry) -> tuple[Annotation, ...]:
        """The masks of the selected readers; raises ``DataError`` where one has another size than the image."""
        paths = {reader: self.layout.files.get((id, reader)) for reader in SELECTED[self.params.readers]}
        return tuple(
            Annotation("vessels", read_mask(path, image=geometry), "mask", reader, str(path))
            for reader, path in paths.items()
            if path is not None
        )

    def load(self, id: str) -> Sample:
        """Load a photograph (3, h, w) with the masks of its vessels and, where it is published, its field of view."""
        sample = super().load(id)
        path = self.layout.files.get((id, FIELD))
        if path is None:
            return sample
        return replace(sample, field=read_mask(path, image=sample.geometry))

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples in the layout of the dataset under an empty folder; return their number.

        The union of all masks becomes that of the first reader, except those of the reader ``second``. Ids become
        numbers; ``origin.csv`` holds the id of each sample. In CHASE_DB1 a patient has a left and a right eye.
        """
        require_new(root)
        templates = NAMES[self.params.source].templates
        eyes: Counter[str] = Counter()
        numbers: dict[str, int] = {}
        origins = []
        for number, sample in enumerate(samples, 1):
            part = "test" if self.split_to_write(sample) == "test" else "training"
            id = f"{number:02d}"
            if self.params.source == "chase_db1":
                id = _eye(sample.patient, eyes, numbers)
            paths = {role: root / template.format(id=id, part=part) for role, template in templates.items()}
            write_image(sample.image, paths[IMAGE])
            for role, values in _masks(sample).items():
                write_binary(values, paths[role])
            origins.append((id, sample.id, sample.patient))
        write_table(root / "origin.csv", ("id", "origin", "patient"), origins, neutralised=True)
        return len(origins)


def _eye(patient: str, eyes: Counter[str], numbers: dict[str, int]) -> str:
    """The id of the next eye of a patient; raises ``DataError`` for a third one."""
    if eyes[patient] == 2:
        raise DataError(f"patient {patient} has more than two images, but CHASE_DB1 has one for each eye; give fewer.")
    side = "LR"[eyes[patient]]
    eyes[patient] += 1
    return f"{numbers.setdefault(patient, len(numbers) + 1):02d}{side}"


def _masks(sample: Sample) -> dict[str, Array]:
    """The masks to write, by their role."""
    masks: dict[str, Array] = {}
    for annotation in sample.annotations:
        if annotation.kind != "density":
            role = "second" if annotation.reader == "second" else "first"
            values = np.asarray(annotation.values)
            masks[role] = np.maximum(masks.get(role, values), values)
    if sample.field is not None:
        masks[FIELD] = sample.field
    return masks
