"""Reads and writes pictures and masks as they lie on disk: JPEG, PNG and TIFF by Pillow; reads DICOM and NIfTI."""

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

from ..errors import DataError
from ..records import Array, Geometry
from .dicom import read_dicom
from .nifti import read_nifti

LOSSLESS = (".png", ".tif", ".tiff")
LOSSY = (".jpg", ".jpeg")
DICOM = (".dcm", ".dicom")
NIFTI = (".nii", ".nii.gz")
MAX_PIXELS = 150_000_000
"""Larger pictures are refused before they are decoded, since a small file may claim any size."""

KEPT = {"L", "RGB", "I;16", "I;16B", "I;16L", "I;16N"}
CONVERTED = {"1": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
STRIPS, STRIP_SIZES, COMPRESSION = 273, 279, 259
SINGLE_BITS = {
    258: ((1,), (1,)), COMPRESSION: (1, 1, 8, 32946), 262: (0, 1, 3), 266: (1, 1), 274: (1, 1), 277: (1, 1), 317: (1, 1)
}  # fmt: skip
"""TIFF's tags of one bit per pixel in plain or deflated strips: what holds where it is not said, and what is allowed.

In this order: bits, compression, black is zero or palette, order of bits, orientation, samples per pixel, predictor.
"""
DAMAGES = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error, zlib.error)

READERS = 4
"""At most so many pictures are decoded at once, since each takes some hundred megabytes meanwhile."""

LINES = 128
"""How many lines are put in order at a time."""
BLOCKS = 8
"""How many blocks of 16 MB Pillow keeps for the next picture; asking the system for them takes as long as decoding."""
Image.core.set_blocks_max(BLOCKS)  # type: ignore[attr-defined]
_quiet = threading.Lock()
"""Warnings are silenced for all threads at once, so by one at a time."""


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
    """A picture (c, h, w) as stored, c = 1 (grey) or 3 (RGB), uint8 or, for grey of 16 bits, uint16; and its geometry.

    Palettes become RGB, transparency is dropped, an EXIF orientation is not applied (masks are drawn on the stored
    pixels). Pillow gives colour of 16 bits as 8. DICOM and NIfTI are read as ``heatproof.imaging.dicom`` and
    ``heatproof.imaging.nifti`` say, volumes as (1, d, h, w). Raises ``DataError`` when the file cannot be used.
    """
    if path.suffix.lower() in DICOM:
        return read_dicom(path, max_pixels)
    if path.name.lower().endswith(NIFTI):
        return read_nifti(path, max_voxels=max_pixels)
    with _opened(path, LOSSY + LOSSLESS + DICOM + NIFTI, max_pixels) as picture:
        if picture.mode not in KEPT | CONVERTED.keys():
            raise DataError(f"{path} has pixels of mode {picture.mode}; save it as grey (8 or 16 bits) or RGB.")
        image = _bands(picture if picture.mode in KEPT else picture.convert(CONVERTED[picture.mode]))
    return image, Geometry.identity(image.shape[1:], str(path))


def _bands(picture: Image.Image) -> Array:
    """The pixels (c, h, w), some lines and one band at a time: putting the whole in order takes four times as long."""
    if picture.mode not in ("L", "RGB"):
        return np.asarray(picture).astype(np.uint16)[None]
    bands = picture.getbands()
    image = np.empty((len(bands), picture.height, picture.width), dtype=np.uint8)
    for top in range(0, picture.height, LINES):
        part = picture.crop((0, top, picture.width, min(top + LINES, picture.height)))
        for values, band in zip(image[:, top : top + LINES], bands):
            values[...] = np.frombuffer(part.tobytes("raw", band), dtype=np.uint8).reshape(values.shape)
    return image


def read_mask(path: Path, max_pixels: int = MAX_PIXELS) -> Array:
    """A mask (h, w) bool: where the stored value, palette index or first channel is above zero.

    Colours of a palette and transparency say nothing: IDRiD's masks are index 1 of a red palette, and one of them is
    opaque everywhere. Raises ``DataError`` when the file cannot be used, or is compressed with loss.
    """
    with _opened(path, LOSSLESS, max_pixels) as picture:
        if (bits := _single_bits(picture, path)) is not None:
            return bits
        return np.asarray(np.atleast_3d(np.asarray(picture))[..., 0] > 0)


def _single_bits(picture: Image.Image, path: Path) -> Array | None:
    """The pixels (h, w) of a TIFF that holds one bit each, in strips as they are or deflated; None for any other file.

    Published masks are such files, and Pillow takes twice as long for them.
    """
    tags = dict(getattr(picture, "tag_v2", {}))
    if (
        len(tags.get(STRIPS, ())) > picture.height
        or any(tags.get(tag, usual) not in allowed for tag, (usual, *allowed) in SINGLE_BITS.items())
        or STRIPS not in tags
    ):
        return None
    stored = path.read_bytes()
    strips = [stored[start : start + size] for start, size in zip(tags[STRIPS], tags[STRIP_SIZES])]
    # The empty strips, which are most, are all alike.
    size = (picture.height, -(-picture.width // 8))
    plain = tags.get(COMPRESSION, 1) == 1
    # Never more than the picture has: a few bytes may inflate to any size.
    inflated = {strip: strip if plain else zlib.decompressobj().decompress(strip, prod(size)) for strip in set(strips)}
    raw = b"".join(inflated[strip] for strip in strips)
    rows = np.frombuffer(raw, dtype=np.uint8, count=prod(size)).reshape(size)
    return np.unpackbits(rows, axis=1, count=picture.width).view(bool)


def write_image(image: Array, path: Path) -> None:
    """Write a picture (c, h, w), c = 1 or 3 of uint8 or c = 1 of uint16; JPEG at quality 95, colour not subsampled."""
    _require_suffix(path, LOSSY + LOSSLESS)
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
    """Write a mask (h, w), true where at least 0.5, as IDRiD does: a deflated palette TIFF, index 1 red."""
    _require_suffix(path, (".tif", ".tiff"))
    picture = Image.fromarray((np.asarray(mask) >= 0.5).astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 255, 0, 0])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, compression="tiff_adobe_deflate")


@contextmanager
def _opened(path: Path, suffixes: tuple[str, ...], max_pixels: int) -> Iterator[Image.Image]:
    """The picture, decoded on first use; whatever is said against it meanwhile becomes a ``DataError``."""
    _require_suffix(path, suffixes)
    if not path.is_file():
        raise DataError(f"{path} does not exist; download it, or correct the path.")
    try:
        with _quiet, warnings.catch_warnings():
            # Size is judged below, and a tag that Pillow skips says nothing about the pixels.
            warnings.simplefilter("ignore")
            picture = Image.open(path, formats=("JPEG", "PNG", "TIFF"))
        with picture:
            _require_one_page(picture, path, max_pixels)
            yield picture
    except Image.DecompressionBombError:
        raise _too_large(path, 2 * (Image.MAX_IMAGE_PIXELS or 0)) from None
    except PermissionError:
        raise DataError(f"{path} may not be read; give yourself the permission to read it.") from None
    except DAMAGES as error:
        raise DataError(f"{path} is damaged ({_reason(error)}); replace it by a fresh copy.") from error


def _require_one_page(picture: Image.Image, path: Path, max_pixels: int) -> None:
    if picture.width * picture.height > max_pixels:
        raise _too_large(path, max_pixels)
    pages = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
    if pages > 1:
        raise DataError(f"{path} holds {pages} pages; save the one that is meant as a file of its own.")


def _require_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path} is of a kind that cannot be used here; allowed: {', '.join(suffixes)}.")


def _too_large(path: Path, limit: int) -> DataError:
    return DataError(f"{path} has more than {limit:,} pixels; reduce it, or raise max_pixels.")


def _reason(error: Exception) -> str:
    """The first line of an error, without the path, which the sentence names already."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "not a JPEG, PNG or TIFF" if isinstance(error, UnidentifiedImageError) else first[:160]
