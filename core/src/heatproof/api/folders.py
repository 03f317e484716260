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
    if not isinstance(images, (str, PathLike)) or not Path(images).expanduser().is_dir():
        return False
    entries = Path(images).expanduser().iterdir()
    return any((entry.is_dir() and entry.name[0] != ".") or entry.suffix == ".csv" for entry in entries)


def matched(values: Any, images: Any, kind: str, say: Say) -> Any:
    """Annotations where a folder becomes the list of its files, by the names of the images' files."""
    if isinstance(values, Mapping):
        return {finding: matched(entries, images, kind, say) for finding, entries in values.items()}
    if not isinstance(values, (str, PathLike)):
        return values
    folder = Path(values).expanduser()
    if not folder.exists():
        raise DataError(f"{folder} does not exist; give the path of a folder of {kind}, or a list with one per image.")
    if not folder.is_dir():
        return [folder]
    paths = [images] if isinstance(images, (str, PathLike)) else images
    named = isinstance(paths, (list, tuple)) and all(isinstance(path, (str, PathLike)) for path in paths)
    stems = [Path(path).stem for path in paths] if named else []
    files = {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES}
    if not files.keys() & set(stems):
        raise DataError(
            f"no file in {values} has the name of an image; name the files of {kind} as the images, and give the "
            "images as a folder or a list of paths."
        )
    stray = sorted(files.keys() - set(stems))
    if stray:
        say(f"Files in {folder.name} that belong to no image: {len(stray)}, such as {files[stray[0]].name}.")
    return [files.get(stem) for stem in stems]
