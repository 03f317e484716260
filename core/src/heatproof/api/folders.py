"""A folder of images: one with the layout of a dataset, or plain files in it."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..imaging.images import LOSSLESS, LOSSY, UNDECIDED
from .networks import Say

SUFFIXES = {*LOSSLESS, *LOSSY, *UNDECIDED, ".dcm"}
"""The suffixes of the files of a plain folder that are images."""


def plain_files(images: Any) -> Any:
    """The files of a folder without further folders or tables, by name; anything else unchanged.

    Raises ``DataError`` for a folder without images and a path that does not exist.
    """
    if not isinstance(images, (str, PathLike)):
        return images
    path = Path(images).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; give the path of an image or of a folder with images.")
    if not path.is_dir() or has_layout(path):
        return images
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
    if not files:
        raise DataError(f"{path} holds no images ({', '.join(sorted(SUFFIXES))}); give a folder with some.")
    return files


def has_layout(images: Any) -> bool:
    """Whether a path is a folder with a table or further folders, which a dataset reads."""
    if not isinstance(images, (str, PathLike)) or not Path(images).is_dir():
        return False
    return any((entry.is_dir() and entry.name[0] != ".") or entry.suffix == ".csv" for entry in Path(images).iterdir())


def matched(values: Any, images: Any, kind: str, say: Say) -> Any:
    """Annotations where a folder becomes the list of its files, by the names of the images' files."""
    if isinstance(values, Mapping):
        return {finding: matched(entries, images, kind, say) for finding, entries in values.items()}
    if not isinstance(values, (str, PathLike)) or not Path(values).is_dir():
        return values
    stems = [Path(image).stem for image in images] if isinstance(images, list) else []
    files = {file.stem: file for file in sorted(Path(values).iterdir()) if file.suffix.lower() in SUFFIXES}
    if not files.keys() & set(stems):
        raise DataError(
            f"no file in {values} has the name of an image; name the files of {kind} as the images, and give the "
            "images as a folder or a list of paths."
        )
    stray = sorted(files.keys() - set(stems))
    if stray:
        say(f"Files in {Path(values).name} that belong to no image: {len(stray)}, such as {files[stray[0]].name}.")
    return [files.get(stem) for stem in stems]
