"""Datasets with a folder of images for each class."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from heatproof.component import Seed
from heatproof.errors import DataError
from heatproof.imaging.images import LOSSLESS, LOSSY
from heatproof.records import Sample
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Pattern, Shares, patient_in, split_of
from heatproof_cohorts.tables import plain_name

PACKED = "__MACOSX"
"""The folder that macOS adds to an archive: its files have the names of the images but hold none."""


class DividedParams(ListedParams):
    """The pattern that finds the patient in a file's name, and the shares and the seed that divide patients."""

    patient: Pattern | None = None
    shares: Shares = Shares()
    seed: Seed = 0

    def split_of(self, patient: str) -> str:
        """Draw the split of a patient from the shares and the seed."""
        return split_of(patient, self.shares, self.seed)


class FolderDataset(ListedDataset[DividedParams]):
    """A dataset with a folder of images for each class, at any depth below root. A subclass gives ``classes``.

    Folders are matched to classes by name; case, blanks, hyphens and underscores do not count. An id is the class and
    the file's path below the folder of the class, without suffix. Patients are divided by name and seed; an image
    without a patient in its name counts as a patient of its own.
    """

    splits = SPLITS
    tuning = "tuning"

    def listed(self) -> Listing:
        """List the images in the folders of the classes; raises ``DataError`` where no class has a folder."""
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
        """Write labelled samples as PNG below an empty folder, in a folder for each class; return their number.

        Neither splits nor patients are written: reading the folder divides the images anew.
        """
        require_new(root)
        for name in self.classes:
            (root / name).mkdir(parents=True, exist_ok=True)
        count = 0
        for sample in samples:
            folder = root / self.classes[self.class_to_write(sample)]
            write_image(sample.image, folder / f"{self.name_to_write(sample)}.png")
            count += 1
        return count


def image_paths(folder: Path) -> list[Path]:
    """List the images below a folder by path, without hidden files and files that macOS added to an archive."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in LOSSY + LOSSLESS
        and not path.name.startswith(".")
        and PACKED not in path.parts
        and path.is_file()
    ]


def class_folders(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """Find the folder of each class name at any depth below root, in the order of the names.

    A name without a folder is left out. Where a folder lies in a folder of the same name, the inner one counts; of
    several folders, one with images. Raises ``DataError`` where several folders with images remain.
    """
    names_by_plain_name = {plain_name(name): name for name in names}
    folders: dict[str, list[Path]] = {name: [] for name in names}
    for path in sorted(root.rglob("*")):
        name = names_by_plain_name.get(plain_name(path.name))
        if name is not None and PACKED not in path.parts and path.is_dir():
            folders[name].append(path)
    return {name: _class_folder(name, paths) for name, paths in folders.items() if paths}


def _class_folder(name: str, folders: Sequence[Path]) -> Path:
    inner = [folder for folder in folders if not any(folder in other.parents for other in folders)]
    candidates = [folder for folder in inner if image_paths(folder)] or inner[:1]
    if len(candidates) > 1:
        raise DataError(f"folders of the class {name} are {candidates[0]} and {candidates[1]}; set root to one copy.")
    return candidates[0]
