"""Finds the images and masks of IDRiD's part A by name, at any depth below a folder."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from heatproof.errors import DataError

CODES = {
    "microaneurysms": "MA",
    "haemorrhages": "HE",
    "hard_exudates": "EX",
    "soft_exudates": "SE",
    "optic_disc": "OD",
}
FOLDERS = {
    "microaneurysms": "1. Microaneurysms",
    "haemorrhages": "2. Haemorrhages",
    "hard_exudates": "3. Hard Exudates",
    "soft_exudates": "4. Soft Exudates",
    "optic_disc": "5. Optic Disc",
}
SPLITS = {"tuning": "a. Training Set", "test": "b. Testing Set"}
IMAGES = Path("A. Segmentation", "1. Original Images")
MASKS = Path("A. Segmentation", "2. All Segmentation Groundtruths")

_NAME = re.compile(r"IDRiD_(\d\d)(?:_(MA|HE|EX|SE|OD)\.tiff?|\.jpe?g)", re.IGNORECASE)
_FINDINGS = {code: finding for finding, code in CODES.items()}
_LETTERS = {re.sub(r"[^a-z]", "", name.lower()): finding for finding, name in FOLDERS.items()}


@dataclass(frozen=True)
class Layout:
    """The files of part A: images by id, masks by (id, finding), splits by id, and the examined (split, finding)."""

    image_paths: Mapping[str, Path]
    masks: Mapping[tuple[str, str], Path]
    splits: Mapping[str, str]
    examined: frozenset[tuple[str, str]]

    @property
    def files(self) -> list[Path]:
        """Every image and mask."""
        return sorted([*self.image_paths.values(), *self.masks.values()])


def find(root: Path) -> Layout:
    """Find the files below ``root``; raise ``DataError`` when there are none, or a file exists twice.

    Ids of part A have two digits, unlike those of parts B and C (``IDRiD_01``, not ``IDRiD_001``). A folder above each
    file names its split.
    """
    paths = sorted(root.rglob("*"))
    files = _files(paths)
    images = {id: path for (id, finding), path in files.items() if not finding}
    masks = {(id, finding): path for (id, finding), path in files.items() if finding}
    if not images:
        raise DataError(_absent(root))
    splits = {id: _split(path, root) for id, path in images.items()}
    examined = {(_split(path, root), finding) for (_, finding), path in masks.items()}
    examined |= {(split, finding) for split, finding in _folders(paths, root) if split}
    return Layout(images, masks, splits, frozenset(examined))


def _files(paths: Iterable[Path]) -> dict[tuple[str, str], Path]:
    """The files of part A by (id, finding); the finding is empty for an image."""
    files: dict[tuple[str, str], Path] = {}
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            code = (match[2] or "").upper()
            key = (f"IDRiD_{match[1]}", _FINDINGS.get(code, ""))
            if key in files:
                raise DataError(f"{path.name} exists twice, as {files[key]} and {path}; keep one of them.")
            files[key] = path
    return files


def _folders(paths: Iterable[Path], root: Path) -> Iterator[tuple[str | None, str]]:
    """The (split, finding) of each folder of masks; an empty folder means that the finding was examined and absent."""
    for path in paths:
        finding = _LETTERS.get(re.sub(r"[^a-z]", "", path.name.lower()))
        if finding and path.is_dir():
            yield split_of(path, root), finding


def _split(path: Path, root: Path) -> str:
    split = split_of(path, root)
    if split is None:
        raise DataError(
            f"{path} lies in no folder named after the training or the testing set; restore the published folders, "
            f"such as '{IMAGES / SPLITS['tuning']}'."
        )
    return split


def split_of(path: Path, root: Path) -> str | None:
    """The split that the nearest folder between ``path`` and ``root`` names; None where none does."""
    for folder in path.relative_to(root).parents:
        for split, word in (("tuning", "train"), ("test", "test")):
            if word in folder.name.lower():
                return split
    return None


def _absent(root: Path) -> str:
    state = "does not exist"
    if root.is_dir():
        state = f"holds no image such as '{IMAGES / SPLITS['tuning']}/IDRiD_01.jpg'"
    return (
        f"{root}, the root of IDRiD's part A, {state}; download 'A. Segmentation' from the page 'Indian Diabetic "
        "Retinopathy Image Dataset (IDRiD)' of IEEE DataPort (CC BY 4.0; cite Porwal et al. 2018), unpack it and set "
        "root to its folder."
    )
