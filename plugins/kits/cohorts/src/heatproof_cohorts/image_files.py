"""Writes images and masks as JPEG, PNG and TIFF."""

from pathlib import Path

import numpy as np
from PIL import Image

from heatproof.errors import DataError
from heatproof.imaging.images import LOSSY, require_suffix
from heatproof.records import Array

WRITTEN = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


def write_image(image: Array, path: Path) -> None:
    """Write an image (c, h, w): c = 1 or 3 of uint8, or c = 1 of uint16 as PNG or TIFF.

    JPEG has quality 95 and full colour resolution. Raises ``DataError`` for other images and file types.
    """
    require_suffix(path, WRITTEN)
    depths = {1: (np.uint8, np.uint16), 3: (np.uint8,)}.get(len(image), ())
    if image.ndim != 3 or image.dtype not in depths or (image.dtype == np.uint16 and path.suffix.lower() in LOSSY):
        raise DataError(
            f"{path} cannot hold an image {tuple(image.shape)} of {image.dtype}; give (1 or 3, h, w) of uint8, or "
            "(1, h, w) of uint16 for PNG and TIFF."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.moveaxis(image, 0, -1)
    if len(image) == 1:
        pixels = image[0]
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, quality=95, subsampling=0)


def eight_bits(image: Array) -> Array:
    """Round an image of uint16 to uint8, as for JPEG; others stay as they are."""
    if image.dtype != np.uint16:
        return image
    return np.rint(image / 257).astype(np.uint8)


def write_mask(mask: Array, path: Path) -> None:
    """Write a mask (h, w), true where it is at least 0.5, as a deflated TIFF with a palette: index 1 is red."""
    require_suffix(path, (".tif", ".tiff"))
    image = Image.fromarray((np.asarray(mask) >= 0.5).astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, compression="tiff_adobe_deflate")


def write_binary(mask: Array, path: Path) -> None:
    """Write a mask (h, w), 255 where it is at least 0.5 and 0 elsewhere, as PNG or GIF."""
    require_suffix(path, (".png", ".gif"))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.asarray(mask) >= 0.5).astype(np.uint8) * np.uint8(255)).save(path)
