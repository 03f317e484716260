"""Reads images and masks from files, each by the reader that claims the file."""

from pathlib import Path

from ..errors import DataError
from ..records import Array, Geometry
from .reader import MAX_PIXELS, reader_of

LOSSLESS = (".png", ".tif", ".tiff")
LOSSY = (".jpg", ".jpeg")
READERS = 4
"""The most images that are decoded at once, since decoding one takes some hundred megabytes."""


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
    """An image (c, h, w) or volume (c, d, h, w) as stored, in unsigned integers, and its geometry.

    The file's name or else its first bytes decide on the reader (``heatproof.imaging.reader.reader_of``); some readers
    read a folder as one volume. Raises ``DataError`` for a file that cannot be used, and names the distribution to
    install where the reader is missing.
    """
    return reader_of(path).read_image(path, max_pixels)


def read_mask(path: Path, max_pixels: int = MAX_PIXELS) -> Array:
    """A mask (*space) bool: true where the stored value, palette index or first channel is above zero.

    Raises ``DataError`` as ``read_image`` does, and for a file with lossy compression.
    """
    return reader_of(path).read_mask(path, max_pixels)


def require_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise ``DataError`` unless the file's suffix is one of these."""
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path} is of a kind that cannot be used here; allowed: {', '.join(suffixes)}.")
