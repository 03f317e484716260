"""Datasets whose images lie in a folder for each class."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from heatproof.errors import DataError
from heatproof.imaging.images import LOSSLESS, LOSSY
from heatproof.records import Sample
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Pattern, Shares, patient_in, split_of
from heatproof_cohorts.tables import plain_name

PACKED = "__MACOSX"
"""What macOS puts beside the files of an archive: folders and files of the same names that hold no images."""


class DividedParams(ListedParams):
    """How patients are found in the names of files, and how they are divided among splits."""

    patient: Pattern | None = None
    shares: Shares = Shares()
    seed: int = Field(default=0, ge=0)

    def split_of(self, patient: str) -> str:
        """The split of a patient."""
        return split_of(patient, self.shares, self.seed)


class FolderDataset(ListedDataset[DividedParams]):
    """A dataset of which each class is a folder of images, at any depth below root. A subclass gives ``classes``.

    The folders are matched by the names of the classes, whatever their case, blanks, hyphens and underscores. The id is
    the class and the file's path below its folder, without suffix. Patients are divided by name and seed; an image
    whose name tells no patient is its own.
    """

    splits = SPLITS
    tuning = "tuning"

    def listed(self) -> Listing:
        """The images in the folders of the classes; raises ``DataError`` where there is no such folder."""
        folders = class_folders(self.params.root, self.classes)
        if not folders:
            raise DataError(f"{self.params.root} holds no folder named {' or '.join(self.classes)}; {self.obtain}.")
        entries, faults = gathered(self._entries(folders))
        faults["missing folders"] = [f"{name}; {self.obtain}" for name in self.classes if name not in folders]
        return Listing(entries, faults)

    def _entries(self, folders: Mapping[str, Path]) -> Iterator[tuple[str, ListedSample]]:
        for name, folder in folders.items():
            for path in image_paths(folder):
                id = f"{name}/{path.relative_to(folder).with_suffix('').as_posix()}"
                patient = patient_in(path.stem, self.params.patient)
                split = self.params.split_of(patient or id)
                yield id, ListedSample(path, split, self.classes.index(name), patient, str(path))

    def write(self, samples: Iterable[Sample], root: Path) -> int:
        """Write labelled samples as PNG in a folder for each class under an empty folder; how many.

        Neither splits nor patients are written: whoever reads them divides the images anew.
        """
        require_new(root)
        for name in self.classes:
            (root / name).mkdir(parents=True, exist_ok=True)
        names = []
        for sample in samples:
            names.append(f"{self.classes[self.class_to_write(sample)]}/{self.name_to_write(sample)}.png")
            write_image(sample.image, root / names[-1])
        return len(names)


def image_paths(folder: Path) -> list[Path]:
    """The images below a folder, by path; hidden files, and what macOS packs beside them, are none."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in LOSSY + LOSSLESS
        and not path.name.startswith(".")
        and PACKED not in path.parts
        and path.is_file()
    ]


def class_folders(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """The folder of each name, at any depth below root, in the order of the names; none of a name that is not there.

    Of a folder that was unpacked into one of its own name the inner one is meant, and one with images rather than
    one without. Raises ``DataError`` where several remain.
    """
    wanted = {plain_name(name): name for name in names}
    found: dict[str, list[Path]] = {name: [] for name in names}
    for path in sorted(root.rglob("*")):
        if plain_name(path.name) in wanted and PACKED not in path.parts and path.is_dir():
            found[wanted[plain_name(path.name)]].append(path)
    return {name: _one(name, folders) for name, folders in found.items() if folders}


def _one(name: str, folders: Sequence[Path]) -> Path:
    inner = [folder for folder in folders if not any(folder in other.parents for other in folders)]
    holding = [folder for folder in inner if image_paths(folder)] or inner[:1]
    if len(holding) > 1:
        raise DataError(f"folders of the class {name} are {holding[0]} and {holding[1]}; set root to one copy.")
    return holding[0]
