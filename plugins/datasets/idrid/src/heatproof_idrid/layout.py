"""Where IDRiD's part A lies under a folder: images and masks by name, whatever mirrors did to the folders above."""

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
    """What a walk found: images by id, masks by (id, finding), the split of each id, (split, finding) examined."""

    image_paths: Mapping[str, Path]
    masks: Mapping[tuple[str, str], Path]
    splits: Mapping[str, str]
    examined: frozenset[tuple[str, str]]

    @property
    def files(self) -> list[Path]:
        """Every image and mask."""
        return sorted([*self.image_paths.values(), *self.masks.values()])


def find(root: Path) -> Layout:
    """The layout under ``root``; raises ``DataError`` when there is none, or a file is there twice.

    Two digits tell part A from parts B and C (``IDRiD_01``, not ``IDRiD_001``); the split is named by a folder above.
    """
    paths = sorted(root.rglob("*"))
    found = _named(paths)
    images = {id: path for (id, finding), path in found.items() if not finding}
    masks = {(id, finding): path for (id, finding), path in found.items() if finding}
    if not images:
        raise DataError(_absent(root))
    splits = {id: _split(path, root) for id, path in images.items()}
    folders = {(split, finding) for path, finding in _folders(paths) if (split := split_of(path, root))}
    return Layout(images, masks, splits, frozenset(folders | {(_split(masks[key], root), key[1]) for key in masks}))


def _named(paths: Iterable[Path]) -> dict[tuple[str, str], Path]:
    """Part A's files by (id, finding), the finding empty for an image."""
    found: dict[tuple[str, str], Path] = {}
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            key = f"IDRiD_{match[1]}", _FINDINGS[match[2].upper()] if match[2] else ""
            if key in found:
                raise DataError(f"{path.name} is there twice, as {found[key]} and {path}; keep one of them.")
            found[key] = path
    return found


def _folders(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """The folders of masks, also empty ones, which say that a finding was looked for."""
    for path in paths:
        finding = _LETTERS.get(re.sub(r"[^a-z]", "", path.name.lower()))
        if finding and path.is_dir():
            yield path, finding


def _split(path: Path, root: Path) -> str:
    split = split_of(path, root)
    if split is None:
        raise DataError(
            f"{path} lies in no folder named after the training or the testing set; keep the published folders, such "
            f"as '{IMAGES / SPLITS['tuning']}'."
        )
    return split


def split_of(path: Path, root: Path) -> str | None:
    """The split that the nearest folder below ``root`` names."""
    for folder in path.relative_to(root).parents:
        for split, word in (("tuning", "train"), ("test", "test")):
            if word in folder.name.lower():
                return split
    return None


def _absent(root: Path) -> str:
    seen = "holds none of them" if root.is_dir() else "does not exist"
    return (
        f"IDRiD's part A is looked for under {root}, as '{IMAGES / SPLITS['tuning']}/IDRiD_01.jpg' at any depth, but "
        f"the folder {seen}; download 'A. Segmentation' from the page 'Indian Diabetic Retinopathy Image Dataset "
        "(IDRiD)' of IEEE DataPort (CC BY 4.0; cite Porwal et al. 2018), unpack it and set root to its folder."
    )
