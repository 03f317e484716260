"""IDRiD's part A: fundus photographs with the lesions that experts outlined."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from heatproof.dataset import Dataset, Tally
from heatproof.digests import digest
from heatproof.errors import DataError, near
from heatproof.imaging.images import read_image, read_mask
from heatproof.imaging.turning import require_known
from heatproof.records import Annotation, Geometry, Sample
from heatproof_cohorts.image_files import write_image, write_mask
from heatproof_cohorts.manifest import require_new
from heatproof_cohorts.tables import write_table

from .layout import CODES, FOLDERS, IMAGES, MASKS, SPLITS, Layout, find
from .settings import IdridParams

PUBLISHED = {"tuning": 54, "test": 27}
"""Split → the published number of images."""
PUBLISHED_MASKS = {
    "tuning": {"microaneurysms": 54, "haemorrhages": 53, "hard_exudates": 54, "soft_exudates": 26, "optic_disc": 54},
    "test": {"microaneurysms": 27, "haemorrhages": 27, "hard_exudates": 27, "soft_exudates": 14, "optic_disc": 27},
}
"""Split and finding → the published number of masks."""
MAX_SAMPLES = 99
"""The layout numbers its samples with two digits."""


class Segmentation(Dataset[IdridParams]):
    """81 photographs of 4288 × 2848 pixels with masks of four lesions and the optic disc.

    Part A has no grades and no patients: labels are None, and each image is its own patient. A missing mask file means
    that the lesion is absent (all zero, ``source`` empty); a finding without a folder was not examined and has no
    annotation.
    """

    splits = ("tuning", "test")
    tuning = "tuning"

    @property
    def findings(self) -> tuple[str, ...]:
        """The selected lesions, and the optic disc if it is asked for."""
        findings: list[str] = list(self.params.findings)
        if self.params.optic_disc:
            findings.append("optic_disc")
        return tuple(dict.fromkeys(findings))

    @cached_property
    def layout(self) -> Layout:
        """The files below root; raise ``DataError`` when there are none."""
        return find(self.params.root)

    def ids(self, split: str | None = None) -> list[str]:
        """Ids such as ``IDRiD_01``; the official training set is the tuning split."""
        self.require_split(split)
        splits = self.layout.splits
        return sorted(id for id in splits if split in (None, splits[id]))

    def files(self) -> Iterable[Path]:
        """The images and masks of part A."""
        return self.layout.files

    def content(self) -> str:
        """The digest of the files and of the examined findings, since an empty folder of masks changes samples too."""
        return digest([super().content(), sorted(self.layout.examined)])

    def files_of(self, id: str) -> Iterable[Path]:
        """The image and the masks of the selected findings."""
        keys = [(id, finding) for finding in self.findings]
        return [self._image_path(id), *(self.layout.masks[key] for key in keys if key in self.layout.masks)]

    def _image_path(self, id: str) -> Path:
        path = self.layout.image_paths.get(id)
        if path is None:
            raise DataError(f"IDRiD under {self.params.root} has no sample {id!r}; {near(id, self.layout.image_paths)}")
        return path

    def load(self, id: str) -> Sample:
        """Load one image (3, h, w) uint8 with a mask (h, w) bool per finding that was examined."""
        image, geometry = read_image(self._image_path(id))
        split = self.layout.splits[id]
        annotations = [
            self._annotation(id, finding, geometry)
            for finding in self.findings
            if (split, finding) in self.layout.examined
        ]
        return Sample(id, image, tuple(annotations), patient=id, geometry=geometry)

    def _annotation(self, id: str, finding: str, geometry: Geometry) -> Annotation:
        shape = geometry.native
        path = self.layout.masks.get((id, finding))
        if path is None:
            return Annotation(finding, np.zeros(shape, dtype=bool))
        mask = read_mask(path)
        if mask.shape != shape:
            raise DataError(_misfit(path, mask.shape, self.layout.image_paths[id], shape))
        require_known(path, geometry)
        return Annotation(finding, mask, source=str(path))

    def check(self) -> list[Tally]:
        """Compare counts with the published ones and decode every file, which takes about 15 s."""
        counts = [Tally(f"images in {split}", len(self.ids(split)), PUBLISHED[split]) for split in self.splits]
        masks = [
            Tally(f"masks of {finding} in {split}", self._mask_count(split, finding), PUBLISHED_MASKS[split][finding])
            for split in self.splits
            for finding in CODES
        ]
        return counts + masks + self._faults()

    def _mask_count(self, split: str, finding: str) -> int:
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
        orphans = [str(mask) for mask, image in pairs if image is None]
        faults = {"unreadable files": damaged, "masks of another size": misfits, "masks without an image": orphans}
        return [Tally(fault, len(messages), 0, *messages[:1]) for fault, messages in faults.items()]

    def _shape(self, path: Path) -> tuple[int, ...]:
        """Height and width of an image or a mask; raise ``DataError`` where it cannot be decoded."""
        if path in self.layout.image_paths.values():
            _, geometry = read_image(path)
            return geometry.native
        return read_mask(path).shape

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write samples in the layout of part A under an empty folder; return their number.

        Samples are named IDRiD_01, IDRiD_02 … in order; ``origin.csv`` lists their original ids. ``extras["split"]``
        names the split of a sample; by default the first 54 are the tuning split. Raises ``DataError`` for what the
        layout cannot hold: more than 99 samples, other findings, and different findings within a split.
        """
        require_new(root)
        root.mkdir(parents=True, exist_ok=True)
        origins: list[tuple[str, str, str]] = []
        examined: dict[str, set[str]] = {}
        for number, sample in enumerate(samples, 1):
            if number > MAX_SAMPLES:
                raise DataError(
                    f"IDRiD's ids have two digits, so at most {MAX_SAMPLES} samples can be written; give fewer."
                )
            default = "tuning" if number <= PUBLISHED["tuning"] else "test"
            split = str(sample.extras.get("split", default))
            self.require_split(split)
            expected = examined.setdefault(split, set(sample.findings()))
            _require_examined(sample, expected)
            id = f"IDRiD_{number:02d}"
            _write_sample(sample, id, root, SPLITS[split])
            origins.append((id, sample.id, sample.patient))
        write_table(root / "origin.csv", ("id", "origin", "patient"), origins, neutralised=True)
        return len(origins)


def _write_sample(sample: Sample, id: str, root: Path, split_folder: str) -> None:
    write_image(sample.image, root / IMAGES / split_folder / f"{id}.jpg")
    for finding in sample.findings():
        folder = root / MASKS / split_folder / FOLDERS[finding]
        folder.mkdir(parents=True, exist_ok=True)
        mask = sample.mask(finding)
        if mask is not None and mask.any():
            write_mask(mask, folder / f"{id}_{CODES[finding]}.tif")


def _require_examined(sample: Sample, expected: set[str]) -> None:
    """Raise ``DataError`` unless a sample was examined for the ``expected`` findings, those of its split."""
    findings = set(sample.findings())
    if unknown := sorted(findings - CODES.keys()):
        raise DataError(f"IDRiD's layout has no finding {unknown[0]!r} ({sample.id}); {near(unknown[0], CODES)}")
    if findings != expected:
        raise DataError(
            f"{sample.id} was examined for {sorted(findings)}, others of its split for {sorted(expected)}; IDRiD's "
            "layout reads a missing mask as absent, so write only samples that were examined for the same findings."
        )


def _misfit(mask: Path, mask_shape: tuple[int, ...], image: Path, image_shape: tuple[int, ...]) -> str:
    """The message about a mask with another shape than its image."""
    return (
        f"{mask} is {' × '.join(map(str, mask_shape))} pixels, its image {image} is "
        f"{' × '.join(map(str, image_shape))}; one of them was resized: replace it with the published file."
    )
