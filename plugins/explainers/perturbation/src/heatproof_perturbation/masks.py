"""Superpixels that are not computed from the image: a grid of squares, and label images in files."""

from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from heatproof.digests import digest, file_digest
from heatproof.errors import DataError
from heatproof.imaging.images import read_image
from heatproof.records import Array


def squares(space: tuple[int, ...], cell: int) -> Array:
    """The square (h, w) that each pixel belongs to, in rows of squares of ``cell`` pixels; the borders cut off some."""
    rows, columns = (np.arange(length) // cell for length in space)
    return np.asarray(rows[:, None] * (columns[-1] + 1) + columns)


def label_image(path: Path, id: str, space: tuple[int, ...]) -> Array:
    """The labels (h, w) of a sample: pixels of one value or colour have one label.

    ``path`` is a file for all samples, or a folder with one per sample, named as its id with _ in place of /. Raises
    ``DataError`` if there is no file, or several, or if it does not have the shape of the image.
    """
    file = _file_of(path, id)
    pixels, _ = read_image(file)
    if pixels.shape[1:] != space:
        raise DataError(
            f"{file} has {' x '.join(map(str, pixels.shape[1:]))} pixels, the prepared image of {id} "
            f"{' x '.join(map(str, space))}; give labels on the model's grid."
        )
    colours = pixels.reshape(len(pixels), -1).T
    return np.unique(colours, axis=0, return_inverse=True)[1].reshape(space)


def folder_digest(path: Any) -> str:
    """The digest of the files of a folder; empty for anything else."""
    if not isinstance(path, Path) or not path.is_dir():
        return ""
    return digest([[file.name, file_digest(file)] for file in sorted(path.iterdir()) if file.is_file()])


def _file_of(path: Path, id: str) -> Path:
    """The label image of a sample."""
    if path.is_file():
        return path
    name = id.replace("/", "_")
    files = [file for file in path.glob(f"{escape(name)}.*") if file.with_suffix("").name == name]
    if len(files) != 1:
        count = len(files) or "no"
        raise DataError(f"{path} has {count} files of labels for {id}; give one, such as {path / name}.png.")
    return files[0]
