"""IDRiD's part A: fundus photographs with the lesions that experts outlined."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from heatproof.dataset import Dataset, Tally
from heatproof.digests import digest
from heatproof.errors import DataError, near
from heatproof.imaging.images import read_image, read_mask
from heatproof.records import Annotation, Sample
from heatproof_cohorts.image_files import write_image, write_mask
from heatproof_cohorts.manifest import require_new
from heatproof_cohorts.tables import write_table

from .layout import CODES, FOLDERS, IMAGES, MASKS, SPLITS, Layout, find
from .settings import IdridParams

PUBLISHED = {"tuning": 54, "test": 27}
PUBLISHED_MASKS = {
    "tuning": {"microaneurysms": 54, "haemorrhages": 53, "hard_exudates": 54, "soft_exudates": 26, "optic_disc": 54},
    "test": {"microaneurysms": 27, "haemorrhages": 27, "hard_exudates": 27, "soft_exudates": 14, "optic_disc": 27},
}
IDS = 99
"""Most samples that the layout can name with two digits."""


class Segmentation(Dataset[IdridParams]):
    """81 photographs of 4288 × 2848 pixels with masks of four lesions and the optic disc.

    Part A has no grades and no patients: labels are None, and each image is its own patient. A missing mask file means
    that the lesion is absent (all zero, ``source`` empty); a finding without a folder was not examined and has no
    annotation.
    """

    findings = tuple(CODES)
    splits = ("tuning", "test")
    tuning = "tuning"

    @cached_property
    def layout(self) -> Layout:
        """The files below root; raise ``DataError`` when there are none."""
        return find(self.params.root)

    def ids(self, split: str | None = None) -> list[str]:
        """Ids such as ``IDRiD_01``; the official training set is the tuning split."""
        self.require_split(split)
        return sorted(id for id, part in self.layout.splits.items() if split in (None, part))

    def files(self) -> Iterable[Path]:
        """The images and masks of part A."""
        return self.layout.files

    def content(self) -> str:
        """The digest of the files and of the examined findings, to which empty folders belong."""
        return digest([super().content(), sorted(self.layout.examined)])

    def load(self, id: str) -> Sample:
        """Load one image (3, h, w) uint8 with a mask (h, w) bool per finding that was examined."""
        path = self.layout.image_paths.get(id)
        if path is None:
            raise DataError(f"IDRiD under {self.params.root} has no sample {id!r}; {near(id, self.layout.image_paths)}")
        image, geometry = read_image(path)
        findings: list[str] = list(self.params.findings)
        if self.params.optic_disc:
            findings.append("optic_disc")
        split = self.layout.splits[id]
        annotations = [
            self._annotation(id, finding, geometry.native)
            for finding in dict.fromkeys(findings)
            if (split, finding) in self.layout.examined
        ]
        return Sample(id, image, tuple(annotations), patient=id, geometry=geometry)

    def _annotation(self, id: str, finding: str, shape: tuple[int, ...]) -> Annotation:
        path = self.layout.masks.get((id, finding))
        if path is None:
            return Annotation(finding, np.zeros(shape, dtype=bool))
        mask = read_mask(path)
        if mask.shape != shape:
            raise DataError(_misfit(path, mask.shape, self.layout.image_paths[id], shape))
        return Annotation(finding, mask, source=str(path))

    def check(self) -> list[Tally]:
        """Compare counts with the published ones and decode every file, which takes about 15 s."""
        counts = [Tally(f"images in {split}", len(self.ids(split)), PUBLISHED[split]) for split in self.splits]
        masks = [
            Tally(f"masks of {finding} in {split}", self._masks(split, finding), PUBLISHED_MASKS[split][finding])
            for split in self.splits
            for finding in self.findings
        ]
        return counts + masks + self._faults()

    def _masks(self, split: str, finding: str) -> int:
        return sum((id, finding) in self.layout.masks for id in self.ids(split))

    def _faults(self) -> list[Tally]:
        shapes: dict[Path, tuple[int, ...]] = {}
        damaged = []
        for path in self.files():
            try:
                shapes[path] = self._shape(path)
            except DataError as error:
                damaged.append(str(error))
        pairs = [(path, self.layout.image_paths.get(id)) for (id, _), path in self.layout.masks.items()]
        misfits = [
            _misfit(mask, shapes[mask], image, shapes[image])
            for mask, image in pairs
            if image in shapes and mask in shapes and shapes[mask] != shapes[image]
        ]
        alone = [str(mask) for mask, image in pairs if image is None]
        faults = {"unreadable files": damaged, "masks of another size": misfits, "masks without an image": alone}
        return [Tally(fault, len(cases), 0, *cases[:1]) for fault, cases in faults.items()]

    def _shape(self, path: Path) -> tuple[int, ...]:
        """Height and width of an image or a mask; raise ``DataError`` where it cannot be decoded."""
        if path in self.layout.image_paths.values():
            _, geometry = read_image(path)
            return geometry.native
        return read_mask(path).shape

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples in the layout of part A under an empty folder; return their number.

        They are named IDRiD_01 … in order; ``origin.csv`` lists their original ids. The first 54 make the tuning split,
        unless ``extras["split"]`` names one. Raises ``DataError`` for more than 99 samples, for other findings, and for
        a finding that was examined in some samples of a split only, because the layout cannot hold them.
        """
        require_new(root)
        root.mkdir(parents=True, exist_ok=True)
        origins: list[tuple[str, str, str]] = []
        examined: dict[str, set[str]] = {}
        for number, sample in enumerate(samples, 1):
            if number > IDS:
                raise DataError(f"IDRiD's ids have two digits, so at most {IDS} samples can be written; give fewer.")
            default = "tuning" if number <= PUBLISHED["tuning"] else "test"
            split = str(sample.extras.get("split", default))
            self.require_split(split)
            _require_examined(sample, examined.setdefault(split, set(sample.findings())))
            _write_sample(sample, f"IDRiD_{number:02d}", root, SPLITS[split])
            origins.append((f"IDRiD_{number:02d}", sample.id, sample.patient))
        write_table(root / "origin.csv", ("id", "origin", "patient"), origins)
        return len(origins)


def _write_sample(sample: Sample, id: str, root: Path, split: str) -> None:
    write_image(sample.image, root / IMAGES / split / f"{id}.jpg")
    for finding in sample.findings():
        folder = root / MASKS / split / FOLDERS[finding]
        folder.mkdir(parents=True, exist_ok=True)
        mask = sample.mask(finding)
        if mask is not None and mask.any():
            write_mask(mask, folder / f"{id}_{CODES[finding]}.tif")


def _require_examined(sample: Sample, examined: set[str]) -> None:
    findings = set(sample.findings())
    if unknown := sorted(findings - CODES.keys()):
        raise DataError(f"IDRiD's layout has no finding {unknown[0]!r} ({sample.id}); {near(unknown[0], CODES)}")
    if findings != examined:
        raise DataError(
            f"{sample.id} was examined for {sorted(findings)}, others of its split for {sorted(examined)}; IDRiD's "
            "layout reads a missing mask as absent, so write only samples that were examined for the same findings."
        )


def _misfit(mask: Path, shape: tuple[int, ...], image: Path, native: tuple[int, ...]) -> str:
    return (
        f"{mask} is {' × '.join(map(str, shape))} pixels, its image {image} is {' × '.join(map(str, native))}; "
        "replace the one that was resized by the published file."
    )
