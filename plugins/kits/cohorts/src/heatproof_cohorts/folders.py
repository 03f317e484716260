"""Datasets with a folder of images for each class."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from heatproof.component import Seed
from heatproof.errors import DataError
from heatproof.imaging.reader import readable_suffixes
from heatproof.records import Sample
from heatproof_cohorts.image_files import write_image
from heatproof_cohorts.manifest import ListedDataset, ListedParams, ListedSample, Listing, gathered, require_new
from heatproof_cohorts.partition import SPLITS, Pattern, Shares, patient_in, split_of
from heatproof_cohorts.tables import plain_name

PACKED = "__MACOSX"
"""The folder that macOS adds to an archive: its files have the names of the images but hold none."""
LITTER = ("thumbs.db", "desktop.ini")
"""Files that Windows adds to folders of images."""


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
        passed = [path for folder in folders.values() for path in unread_paths(folder)]
        return Listing(entries, faults, passed_over=passed)

    def _entries(self, folders: Mapping[str, Path]) -> Iterator[tuple[str, ListedSample]]:
        for name, folder in folders.items():
            for path in image_paths(folder):
                id = f"{name}/{name_below(path, folder)}"
                patient = patient_in(Path(id).name, self.params.patient)
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


def file_paths(folder: Path) -> list[Path]:
    """List the files below a folder by path, without hidden ones and those that systems add to folders and archives."""
    paths: list[Path] = []
    for parent, names, files in os.walk(folder):
        names[:] = filter(is_visible, names)
        paths += (Path(parent, name) for name in filter(is_visible, files))
    return sorted(path for path in paths if path.is_file())


def is_visible(name: str) -> bool:
    """Whether a file or folder is one of the user's: neither hidden nor added by a system."""
    return not name.startswith(".") and name != PACKED and name.lower() not in LITTER


def image_paths(folder: Path) -> list[Path]:
    """List the files of ``file_paths`` that an installed reader reads by their suffix."""
    return [path for path in file_paths(folder) if _suffix(path)]


def unread_paths(folder: Path) -> list[Path]:
    """List the files of ``file_paths`` that are no image for any installed reader."""
    return [path for path in file_paths(folder) if not _suffix(path)]


def name_below(path: Path, folder: Path = Path()) -> str:
    """The path of a file below a folder, without its suffix, of which ``.nii.gz`` is one.

    >>> name_below(Path("scans/7.a.png"), Path("scans"))
    '7.a'
    """
    name = path.relative_to(folder).as_posix()
    return name[: len(name) - len(_suffix(path) or path.suffix)]


def _suffix(path: Path) -> str:
    """The suffix by which an installed reader reads a file; empty if there is none."""
    return next((suffix for suffix in readable_suffixes() if path.name.lower().endswith(suffix)), "")


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
