"""The core's reader: JPEG, PNG and TIFF by Pillow, and TIFF with colours of 16 bits by tifffile."""

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
from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile

from ..errors import DataError
from ..records import Array, Geometry
from .images import LOSSLESS, LOSSY, require_suffix
from .reader import MAX_PIXELS, Reader

MODES = {"L", "RGB", "I;16", "I;16B", "I;16L", "I;16N"}
CONVERTED = {"1": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
"""Other modes of Pillow → the mode that they are converted to."""
RGB = 2
"""The value of TIFF's tag ``PhotometricInterpretation`` for RGB."""
DECODE_ERRORS = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error, zlib.error)
"""The errors of Pillow, tifffile and zlib for a damaged file."""
LINES = 128
"""The number of lines that are split into channels at a time."""
BLOCKS = 8
"""The blocks of 16 MB that Pillow keeps for the next image; allocating them again takes as long as decoding."""
Image.core.set_blocks_max(BLOCKS)  # type: ignore[attr-defined]
_quiet = threading.Lock()
"""``warnings.catch_warnings`` acts on all threads, so only one thread at a time may use it."""


class Raster(Reader):
    """JPEG, PNG and TIFF of one page: pixels (c, h, w), c = 1 (grey) or 3 (RGB), of 8 or 16 bits as stored.

    Palettes become RGB, transparency is dropped, and an EXIF orientation is not applied, since masks are drawn on the
    stored pixels. TIFF keeps colours of 16 bits; of a PNG Pillow returns their upper 8 bits. Spacing and orientation
    are not read. Masks (h, w) are true where the stored value, palette index or first channel is above zero; palette
    colours and transparency are ignored, since some published masks are opaque everywhere. JPEG cannot be a mask.
    """

    suffixes = LOSSY + LOSSLESS
    signatures = (
        (0, b"\xff\xd8\xff"), (0, b"\x89PNG\r\n\x1a\n"), (0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")
    )  # fmt: skip

    def read_image(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
        """An image (c, h, w) uint8 or uint16, and its geometry."""
        with _opened(path, max_pixels) as opened:
            if opened.mode not in MODES | CONVERTED.keys():
                raise DataError(f"{path} has pixels of mode {opened.mode}; save it as grey (8 or 16 bits) or RGB.")
            image = _deep_bands(path) if _deep(opened) else _bands(opened)
        return image, Geometry.identity(image.shape[1:], str(path))

    def read_mask(self, path: Path, max_pixels: int = MAX_PIXELS) -> Array:
        """A mask (h, w) bool."""
        if path.suffix.lower() in LOSSY:
            require_suffix(path, LOSSLESS)
        with _opened(path, max_pixels) as image:
            if image.format == "JPEG" and path.suffix.lower() not in LOSSLESS:
                raise DataError(f"{path} is a JPEG, which changes the edges of a mask; save the mask as PNG.")
            if (bits := _single_bits(image, path)) is not None:
                return bits
            return np.asarray(np.atleast_3d(np.asarray(image))[..., 0] > 0)


def _bands(opened: Image.Image) -> Array:
    """The pixels (c, h, w), copied by lines and channels, since transposing the whole takes four times as long."""
    if opened.mode in CONVERTED:
        opened = opened.convert(CONVERTED[opened.mode])
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
    """Whether an image is a TIFF with colours of 16 bits, of which Pillow returns only 8."""
    tags = dict(getattr(image, "tag_v2", {}))
    return tags.get(Tag.PhotometricInterpretation) == RGB and set(tags.get(Tag.BitsPerSample, ())) == {16}


def _deep_bands(path: Path) -> Array:
    """The pixels (3, h, w) uint16 of a TIFF; raises ``DataError`` if its compression needs imagecodecs."""
    from tifffile import TiffFile, TiffFileError

    try:
        with TiffFile(path) as file:
            (page,) = file.pages
            pixels = page.asarray()
    except TiffFileError as error:
        raise ValueError(str(error)) from error
    except ValueError as error:
        if "imagecodecs" in str(error):
            raise DataError(
                f"{path} has colours of 16 bits and is compressed in a way that needs imagecodecs; run 'pip install "
                "imagecodecs', or save it with another compression, such as deflate."
            ) from None
        raise
    return np.ascontiguousarray(np.moveaxis(pixels, page.axes.index("S"), 0)[:3])


def _single_bits(image: ImageFile, path: Path) -> Array | None:
    """The pixels (h, w) bool of a TIFF of one bit per pixel, plain or deflated; None for any other file.

    Published masks are such files. Pillow takes several times as long, and tifffile inflates a strip to any size.
    """
    tags = dict(getattr(image, "tag_v2", {}))
    compression = image.info.get("compression")
    if (
        len(tags.get(Tag.StripOffsets, ())) not in range(1, image.height + 1)
        or image.tile[0].args[0] not in ("1", "P;1")  # type: ignore[index]
        or compression not in ("raw", "tiff_deflate", "tiff_adobe_deflate")
        or any(tags.get(tag, 1) != 1 for tag in (Tag.FillOrder, Tag.Orientation, Tag.Predictor))
    ):
        return None
    stored = path.read_bytes()
    strips = [stored[start : start + size] for start, size in zip(tags[Tag.StripOffsets], tags[Tag.StripByteCounts])]
    shape = (image.height, -(-image.width // 8))
    if compression != "raw":
        # Most strips are empty and alike, so inflate each content once, and never to more bytes than the image has.
        inflated = {strip: zlib.decompressobj().decompress(strip, prod(shape)) for strip in set(strips)}
        strips = [inflated[strip] for strip in strips]
    rows = np.frombuffer(b"".join(strips), dtype=np.uint8, count=prod(shape)).reshape(shape)
    return np.unpackbits(rows, axis=1, count=image.width).view(bool)


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[ImageFile]:
    """Open an image, which Pillow decodes on first use; errors inside the ``with`` block become ``DataError``."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; download it, or correct the path.")
    try:
        with _quiet, warnings.catch_warnings():
            # _require_one_page checks the size, and a tag that Pillow skips does not change the pixels.
            warnings.simplefilter("ignore")
            image = Image.open(path, formats=("JPEG", "PNG", "TIFF"))
        with image:
            _require_one_page(image, path, max_pixels)
            yield image
    except Image.DecompressionBombError:
        raise _too_large(path, 2 * (Image.MAX_IMAGE_PIXELS or 0)) from None
    except PermissionError:
        raise DataError(f"{path} may not be read; give yourself the permission to read it.") from None
    except DECODE_ERRORS as error:
        raise DataError(f"{path} is damaged ({_reason(error)}); replace it by a fresh copy.") from error


def _require_one_page(image: Image.Image, path: Path, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise _too_large(path, max_pixels)
    pages = getattr(image, "n_frames", 1)
    if image.format == "TIFF" and pages > 1:
        raise DataError(f"{path} holds {pages} pages; save the page to use as a separate file.")


def _too_large(path: Path, limit: int) -> DataError:
    return DataError(f"{path} has more than {limit:,} pixels; reduce it, or raise max_pixels.")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its message repeats the path
        return "not a JPEG, PNG or TIFF"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]
