"""Images and masks as files: read by the reader that claims them."""

from pathlib import Path

from ..errors import DataError
from ..records import Array, Geometry
from .reader import MAX_PIXELS, reader_of

LOSSLESS = (".png", ".tif", ".tiff")
LOSSY = (".jpg", ".jpeg")
READERS = 4
"""At most so many images are decoded at once, since each takes some hundred megabytes meanwhile."""


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
    """An image (c, h, w) or volume (c, d, h, w) as stored, in unsigned integers, and its geometry.

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


def require_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise ``DataError`` unless a file's name ends with one of these."""
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path} is of a kind that cannot be used here; allowed: {', '.join(suffixes)}.")
