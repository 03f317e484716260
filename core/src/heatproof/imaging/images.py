"""Reads images and masks from files, each by the reader that claims the file."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import DataError, HeatproofError
from ..records import Array, Geometry
from .reader import MAX_PIXELS, Reader, reader_of
from .turning import UPRIGHT, Turned, laid_on, stored_space
from .window import Window

LOSSLESS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".pbm", ".pnm")
LOSSY = (".jpg", ".jpeg")
UNDECIDED = (".webp",)
"""Suffixes of images that the content makes lossy or lossless."""
READERS = 4
"""The most images that are decoded at once, since decoding one takes some hundred megabytes."""
Result = TypeVar("Result")


def read_image(path: Path, max_pixels: int = MAX_PIXELS, window: Window | None = None) -> tuple[Array, Geometry]:
    """An image (c, h, w) or volume (c, d, h, w), and its geometry: through a window, or in the values of its reader.

    The file's name or else its first bytes decide on the reader (``heatproof.imaging.reader.reader_of``); some readers
    read a folder as one volume. An image is turned as its EXIF orientation says. Raises ``DataError`` for a file that
    cannot be used, and names the distribution to install where the reader is missing.
    """
    if window is None:
        return _read(path, lambda reader: reader.read_image(path, max_pixels))
    return _read(path, lambda reader: reader.read_through(path, window, max_pixels))


def read_mask(
    path: Path, max_pixels: int = MAX_PIXELS, image: Geometry | None = None, turned: Turned = "refuse"
) -> Array:
    """A mask (*space) bool, true where its file has a colour or a value above the background (black, zero).

    With the geometry of its ``image`` it is laid on the grid of that image, which EXIF may have turned: ``laid_on``.
    Raises ``DataError`` as ``read_image`` does, for a file with lossy compression, and for a mask of another size.
    """
    mask = _read(path, lambda reader: reader.read_mask(path, max_pixels))
    return mask if image is None else laid(mask, path, image, turned)


def laid(values: Array, path: Path, image: Geometry, turned: Turned = "refuse") -> Array:
    """What was read from a file (*space) on the grid of its image: ``heatproof.imaging.turning.laid_on``."""
    exif = UPRIGHT
    # Only where the size cannot tell, the file is opened once more.
    if image.exif != UPRIGHT and stored_space(image) == image.native:
        exif = _read(path, lambda reader: reader.exif(path))
    return laid_on(values, path, image, turned, exif)


def _read(path: Path, action: Callable[[Reader], Result]) -> Result:
    """Let the reader of a file act; whatever a library raises becomes a ``DataError``, so that one sample fails."""
    reader = reader_of(path)
    try:
        return action(reader)
    except HeatproofError:
        raise
    except Exception as error:
        reason = ": ".join(filter(None, [type(error).__name__, " ".join(str(error).split())[:200]]))
        raise DataError(
            f"{path} cannot be read by {reader.short} ({reason}); replace it by a fresh copy, or leave it out."
        ) from error


def require_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise ``DataError`` unless the file's suffix is one of these."""
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path} is of a kind that cannot be used here; allowed: {', '.join(suffixes)}.")
