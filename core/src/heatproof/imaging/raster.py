"""The core's reader: JPEG, PNG, TIFF, BMP, GIF, WebP and PNM by Pillow, TIFF with colours of 16 bits by tifffile."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from ..errors import DataError, HeatproofError
from ..records import Array, Geometry
from .images import LOSSLESS, LOSSY, UNDECIDED, require_suffix
from .masks import mask_of
from .pixels import exif_orientation, pixels_of
from .reader import MAX_PIXELS, Reader

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
PAGED = ("TIFF", "GIF", "WEBP", "PNG")
"""The formats of which a file may hold several images that are equally good."""
BLOCKS = 8
"""The blocks of 16 MB that Pillow keeps for the next image; allocating them again takes as long as decoding."""
Image.core.set_blocks_max(BLOCKS)  # type: ignore[attr-defined]
_quiet = threading.Lock()
"""``warnings.catch_warnings`` acts on all threads, so only one thread at a time may use it."""


class Raster(Reader):
    """JPEG, PNG, TIFF, BMP, GIF, WebP and PNM (PGM, PPM, PBM) of one page: pixels (c, h, w), c = 1 (grey) or 3 (RGB).

    Pixels have 8 or 16 bits as stored; TIFF also has signed values and floats, which stay as they are. The orientation
    of EXIF is applied, as viewers do, to images and to masks. Palettes become RGB, and images lose their transparency.
    TIFF keeps colours of 16 bits; of a PNG Pillow returns their upper 8 bits. Spacing is not read. Masks (h, w) are
    true where a pixel has a colour above black, in whichever channel, and is not wholly transparent; palettes count by
    their colours. Lossy content cannot be a mask, whatever the file is called.
    """

    suffixes = LOSSY + LOSSLESS + UNDECIDED
    signatures = (
        (0, b"\xff\xd8\xff"), (0, b"\x89PNG\r\n\x1a\n"), (0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+"),
        (0, b"GIF87a"), (0, b"GIF89a"), (8, b"WEBP"),
    )  # fmt: skip

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """An image (c, h, w) as shown, and its geometry."""
        with _opened(path, max_pixels) as opened:
            exif = exif_orientation(opened)
            image = pixels_of(opened, path, exif)
        return image, replace(Geometry.identity(image.shape[1:], str(path)), exif=exif)

    def read_mask(self, path: Path, max_pixels: int = MAX_PIXELS) -> Array:
        """A mask (h, w) bool, as shown."""
        if path.suffix.lower() in LOSSY:
            require_suffix(path, LOSSLESS)
        with _opened(path, max_pixels) as opened:
            return mask_of(opened, path)

    def exif(self, path: Path) -> int:
        """The EXIF orientation of a file, which is applied."""
        with _opened(path, MAX_PIXELS) as opened:
            return exif_orientation(opened)


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[ImageFile]:
    """Open an image, which Pillow decodes on first use; errors inside the ``with`` block become ``DataError``."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; download it, or correct the path.")
    try:
        with _quiet, warnings.catch_warnings():
            # _require_one_page checks the size, and a tag that Pillow skips does not change the pixels.
            warnings.simplefilter("ignore")
            image = Image.open(path, formats=FORMATS)
        with image:
            _require_one_page(image, path, max_pixels)
            yield image
    except HeatproofError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(path, 2 * (Image.MAX_IMAGE_PIXELS or 0)) from None
    except PermissionError:
        raise DataError(f"{path} may not be read; give yourself the permission to read it.") from None
    except Exception as error:
        raise DataError(f"{path} is damaged ({_reason(error)}); replace it by a fresh copy.") from error


def _require_one_page(image: Image.Image, path: Path, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise _too_large(path, max_pixels)
    pages = getattr(image, "n_frames", 1) if image.format in PAGED else 1
    if pages > 1:
        raise DataError(f"{path} holds {pages} pages; save the page to use as a separate file.")


def _too_large(path: Path, limit: int) -> DataError:
    return DataError(f"{path} has more than {limit:,} pixels; reduce it, or raise max_pixels.")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its message repeats the path
        return f"not {', '.join(FORMATS[:-1])} or PNM"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]
