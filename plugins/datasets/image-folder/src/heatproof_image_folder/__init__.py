"""Registers the dataset of your own images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from .image_folder import ImageFolder


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"image_folder": "heatproof_image_folder.image_folder:ImageFolder"}


@hookimpl
def heatproof_folder(folder: "Path") -> "ImageFolder | None":
    """Return the dataset of a folder with a table of samples or with class folders."""
    from .image_folder import ImageFolder

    dataset = ImageFolder(root=folder)
    return dataset if dataset.listed().entries else None
