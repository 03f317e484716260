"""The core's own reader: JPEG, PNG and TIFF by Pillow, and by tifffile what Pillow would round."""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from ..errors import DataError
from ..records import Array, Geometry
from .images import LOSSLESS, LOSSY, require_suffix
from .reader import MAX_PIXELS, Reader

KEPT = {"L", "RGB", "I;16", "I;16B", "I;16L", "I;16N"}
CONVERTED = {"1": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
BITS, PHOTOMETRIC, STRIPS, STRIP_SIZES = 258, 262, 273, 279
BIT_ORDER, ORIENTATION, PREDICTOR = 266, 274, 317
RGB = 2
DAMAGES = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error, zlib.error)

LINES = 128
"""How many lines are put in order at a time."""
BLOCKS = 8
"""How many blocks of 16 MB Pillow keeps for the next image; asking the system for them takes as long as decoding."""
Image.core.set_blocks_max(BLOCKS)  # type: ignore[attr-defined]
_quiet = threading.Lock()
"""Warnings are silenced for all threads at once, so by one at a time."""


class Raster(Reader):
    """JPEG, PNG and TIFF of one page: pixels (c, h, w), c = 1 (grey) or 3 (RGB), of 8 or 16 bits as stored.

    Palettes become RGB, transparency is dropped, an EXIF orientation is not applied (masks are drawn on the stored
    pixels). Colour of 16 bits stays so in TIFF; in PNG Pillow gives its upper 8 bits. Neither spacing nor orientation
    is read. Masks (h, w) are true where the stored value, palette index or first channel is above zero: colours of a
    palette and transparency say nothing, for some published masks are opaque everywhere. JPEG cannot be a mask.
    """

    suffixes = LOSSY + LOSSLESS
    signatures = (
        (0, b"\xff\xd8\xff"), (0, b"\x89PNG\r\n\x1a\n"), (0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")
    )  # fmt: skip

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """An image (c, h, w) uint8 or uint16, and its geometry."""
        with _opened(path, max_pixels) as opened:
            if opened.mode not in KEPT | CONVERTED.keys():
                raise DataError(f"{path} has pixels of mode {opened.mode}; save it as grey (8 or 16 bits) or RGB.")
            if _deep(opened):
                image = _deep_bands(path)
            else:
                image = _bands(opened if opened.mode in KEPT else opened.convert(CONVERTED[opened.mode]))
        return image, Geometry.identity(image.shape[1:], str(path))

    def read_mask(self, path: Path, max_pixels: int = MAX_PIXELS) -> Array:
        """A mask (h, w) bool."""
        if path.suffix.lower() in LOSSY:
            require_suffix(path, LOSSLESS)
        with _opened(path, max_pixels) as image:
            if image.format == "JPEG" and path.suffix.lower() not in LOSSLESS:
                raise DataError(f"{path} is a JPEG, whose edges are not those that were drawn; save the mask as PNG.")
            if (bits := _single_bits(image, path)) is not None:
                return bits
            return np.asarray(np.atleast_3d(np.asarray(image))[..., 0] > 0)


def _bands(opened: Image.Image) -> Array:
    """The pixels (c, h, w), some lines and one band at a time: putting the whole in order takes four times as long."""
    if opened.mode not in ("L", "RGB"):
        return np.asarray(opened).astype(np.uint16)[None]
    bands = opened.getbands()
    image = np.empty((len(bands), opened.height, opened.width), dtype=np.uint8)
    for top in range(0, opened.height, LINES):
        part = opened.crop((0, top, opened.width, min(top + LINES, opened.height)))
        for values, band in zip(image[:, top : top + LINES], bands):
            values[...] = np.frombuffer(part.tobytes("raw", band), dtype=np.uint8).reshape(values.shape)
    return image


def _deep(image: Image.Image) -> bool:
    """Whether an image is a TIFF with colours of 16 bits, of which Pillow gives 8."""
    tags = dict(getattr(image, "tag_v2", {}))
    return tags.get(PHOTOMETRIC) == RGB and set(tags.get(BITS, ())) == {16}


def _deep_bands(path: Path) -> Array:
    """The pixels (3, h, w) uint16 of such an image; raises ``DataError`` where its compression needs more."""
    from tifffile import TiffFile, TiffFileError

    try:
        with TiffFile(path) as file:
            (page,) = file.pages
            pixels, axes = page.asarray(), page.axes
    except TiffFileError as error:
        raise ValueError(str(error)) from error
    except ValueError as error:
        if "imagecodecs" in str(error):
            raise DataError(
                f"{path} has colours of 16 bits and is compressed in a way that needs imagecodecs; run 'pip install "
                "imagecodecs', or save it with another compression, such as deflate."
            ) from None
        raise
    return np.ascontiguousarray(np.moveaxis(pixels, axes.index("S"), 0)[:3])


def _single_bits(image: ImageFile, path: Path) -> Array | None:
    """The pixels (h, w) of a TIFF that holds one bit each, in strips as they are or deflated; None for any other file.

    Published masks are such files, and Pillow takes ten times as long for them.
    """
    tags = dict(getattr(image, "tag_v2", {}))
    plain = image.info.get("compression") == "raw"
    if (
        len(tags.get(STRIPS, ())) not in range(1, image.height + 1)
        or image.tile[0].args[0] not in ("1", "P;1")  # type: ignore[index]
        or not (plain or image.info["compression"] in ("tiff_deflate", "tiff_adobe_deflate"))
        or any(tags.get(tag, 1) != 1 for tag in (BIT_ORDER, ORIENTATION, PREDICTOR))
    ):
        return None
    stored = path.read_bytes()
    strips = [stored[start : start + size] for start, size in zip(tags[STRIPS], tags[STRIP_SIZES])]
    # The empty strips, which are most, are all alike.
    size = (image.height, -(-image.width // 8))
    # Never more than the image has: a few bytes may inflate to any size.
    inflated = {strip: strip if plain else zlib.decompressobj().decompress(strip, prod(size)) for strip in set(strips)}
    raw = b"".join(inflated[strip] for strip in strips)
    rows = np.frombuffer(raw, dtype=np.uint8, count=prod(size)).reshape(size)
    return np.unpackbits(rows, axis=1, count=image.width).view(bool)


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[ImageFile]:
    """The image, decoded on first use; whatever is said against it meanwhile becomes a ``DataError``."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; download it, or correct the path.")
    try:
        with _quiet, warnings.catch_warnings():
            # Size is judged below, and a tag that Pillow skips says nothing about the pixels.
            warnings.simplefilter("ignore")
            image = Image.open(path, formats=("JPEG", "PNG", "TIFF"))
        with image:
            _require_one_page(image, path, max_pixels)
            yield image
    except Image.DecompressionBombError:
        raise _too_large(path, 2 * (Image.MAX_IMAGE_PIXELS or 0)) from None
    except PermissionError:
        raise DataError(f"{path} may not be read; give yourself the permission to read it.") from None
    except DAMAGES as error:
        raise DataError(f"{path} is damaged ({_reason(error)}); replace it by a fresh copy.") from error


def _require_one_page(image: Image.Image, path: Path, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise _too_large(path, max_pixels)
    pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if pages > 1:
        raise DataError(f"{path} holds {pages} pages; save the one that is meant as a file of its own.")


def _too_large(path: Path, limit: int) -> DataError:
    return DataError(f"{path} has more than {limit:,} pixels; reduce it, or raise max_pixels.")


def _reason(error: Exception) -> str:
    """The first line of an error, without the path, which the sentence names already."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "not a JPEG, PNG or TIFF" if isinstance(error, UnidentifiedImageError) else first[:160]
