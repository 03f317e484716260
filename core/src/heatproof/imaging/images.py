"""Pictures and masks as files: read by the reader that claims them, written as JPEG, PNG and TIFF."""

from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DataError
from ..records import Array, Geometry
from .reader import MAX_PIXELS, reader_of

LOSSLESS = (".png", ".tif", ".tiff")
LOSSY = (".jpg", ".jpeg")
READERS = 4
"""At most so many pictures are decoded at once, since each takes some hundred megabytes meanwhile."""


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
    """A picture (c, h, w) or volume (c, d, h, w) as stored, in unsigned integers, and its geometry.

    The reader is found by the file's name, else by its first bytes (``heatproof.imaging.reader.reader_of``); some read
    a folder as one volume. Raises ``DataError`` when the file cannot be used, and names the distribution of a reader
    that is not installed.
    """
    return reader_of(path).read_image(path, max_pixels)


def read_mask(path: Path, max_pixels: int = MAX_PIXELS) -> Array:
    """A mask (*space) bool: where the stored value, palette index or first channel is above zero.

    Raises ``DataError`` as ``read_image`` does, and for a file that is compressed with loss.
    """
    return reader_of(path).read_mask(path, max_pixels)


def write_image(image: Array, path: Path) -> None:
    """Write a picture (c, h, w), c = 1 or 3 of uint8 or c = 1 of uint16; JPEG at quality 95, colour not subsampled."""
    require_suffix(path, LOSSY + LOSSLESS)
    depths = {1: (np.uint8, np.uint16), 3: (np.uint8,)}.get(len(image), ())
    if image.ndim != 3 or image.dtype not in depths or (image.dtype == np.uint16 and path.suffix.lower() in LOSSY):
        raise DataError(
            f"{path} cannot hold an image {tuple(image.shape)} of {image.dtype}; give (1 or 3, h, w) of uint8, or "
            "(1, h, w) of uint16 for PNG and TIFF."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, quality=95, subsampling=0)


def write_mask(mask: Array, path: Path) -> None:
    """Write a mask (h, w), true where at least 0.5: a deflated palette TIFF, index 1 red."""
    require_suffix(path, (".tif", ".tiff"))
    picture = Image.fromarray((np.asarray(mask) >= 0.5).astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, compression="tiff_adobe_deflate")


def require_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise ``DataError`` unless a file's name ends with one of these."""
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path} is of a kind that cannot be used here; allowed: {', '.join(suffixes)}.")
