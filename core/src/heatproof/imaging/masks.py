"""Masks in files that Pillow opened: what has a colour, whatever the channel and the palette."""

import zlib
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile

from ..errors import DataError
from ..records import Array
from .pixels import MODES, as_shown, deep, exif_orientation, pixels_of, tags_of, values_of

TRANSPARENT = {"LA", "PA", "RGBA"}
"""The modes of Pillow with transparency."""
COLOURED = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", *TRANSPARENT}
LOSSY_TIFF = {"jpeg", "tiff_jpeg", "webp"}
"""Compressions of TIFF that may change values."""
PALETTE = 3
"""The value of TIFF's tag ``PhotometricInterpretation`` for a palette."""
CUT = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
"""Layouts of PNG of which Pillow returns the upper bytes → the layout by which it returns the lower ones."""


def mask_of(image: ImageFile, path: Path) -> Array:
    """The mask (h, w) bool, as shown: true where a pixel has a colour above black and is not transparent.

    Raises ``DataError`` for lossy compression, and where colours and transparency contradict each other.
    """
    if kind := _lossy(image, path):
        raise DataError(f"{path} is {kind}, which changes the edges of a mask; save the mask as PNG.")
    if (bits := _single_bits(image, path)) is not None:
        return bits
    # First of all, since Pillow may decode an image to find its orientation.
    lower = _lower_bytes(image, path)
    exif = exif_orientation(image)
    if deep(image):
        return np.asarray(pixels_of(image, path, exif).any(axis=0))
    mask = _coloured(image, path) if image.mode in COLOURED else _above_zero(image, path)
    if lower is not None:
        mask = mask | lower
    return as_shown(mask, image, exif)


def _above_zero(image: Image.Image, path: Path) -> Array:
    if image.mode not in MODES:
        raise DataError(f"{path} has pixels of mode {image.mode}; save the mask as grey or RGB.")
    return np.asarray(values_of(image, path) > 0)


def _coloured(image: Image.Image, path: Path) -> Array:
    """Where an image of 8 bits has a colour above black that is not wholly transparent."""
    transparent = image.mode in TRANSPARENT or "transparency" in image.info
    if image.mode in ("1", "L") and not transparent:
        return np.asarray(image) > 0
    rgba = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    coloured = np.asarray(rgba[..., 0] | rgba[..., 1] | rgba[..., 2]) > 0
    if not transparent:
        if image.mode == "P" and not coloured.any() and np.ptp(np.asarray(image)):
            raise DataError(f"{path} has a shape, but its palette is black everywhere; save it as white on black.")
        return coloured
    opaque = rgba[..., 3] > 0
    mask = coloured & opaque
    if not mask.any() and (coloured.any() or opaque.any() != opaque.all()):
        raise DataError(
            f"{path} has colours only where it is transparent, or a transparent part beside black: its colours and its "
            "transparency are two different masks; save it as white on black, without transparency."
        )
    return mask


def _lower_bytes(image: ImageFile, path: Path) -> Array | None:
    """Where the lower bytes of colours of 16 bits are above zero, of which Pillow returns the upper ones only."""
    arguments = image.tile[0].args if image.tile else None
    layout = arguments[0] if isinstance(arguments, tuple) else arguments
    if image.format == "PPM" and image.mode == "RGB" and isinstance(arguments, tuple) and (arguments[-1] or 0) > 255:
        raise DataError(f"{path} has colours of 16 bits; save the mask as grey, or with colours of 8 bits.")
    if image.format != "PNG" or layout not in CUT:
        if layout == "LA;16B":
            raise DataError(f"{path} is grey of 16 bits with transparency; save the mask without transparency.")
        return None
    with Image.open(path, formats=("PNG",)) as again:
        again.tile = [again.tile[0]._replace(args=CUT[layout])]
        lower = np.asarray(again)
    return np.asarray(lower[..., 0] | lower[..., 1] | lower[..., 2]) > 0


def _lossy(image: ImageFile, path: Path) -> str:
    """What makes the content of a file lossy, whatever its name; empty for lossless content."""
    if image.format in ("JPEG", "MPO"):
        return "a JPEG"
    if image.format == "TIFF" and (compression := str(image.info.get("compression"))) in LOSSY_TIFF:
        return f"a TIFF with lossy compression ({compression})"
    if image.format == "WEBP" and _has_lossy_chunk(path.read_bytes()):
        return "a lossy WebP"
    return ""


def _has_lossy_chunk(content: bytes) -> bool:
    """Whether a WebP file holds a chunk of lossy pixels (``VP8``, with a blank; lossless ones are ``VP8L``)."""
    position = len("RIFF....WEBP")
    while position + 8 <= len(content):
        if content[position : position + 4] == b"VP8 ":
            return True
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    return False


def _black_and_colour(tags: dict[int, object]) -> bool:
    """Whether the palette of two colours in a TIFF has black first and then another colour."""
    colours = np.asarray(tags.get(Tag.ColorMap, ())).reshape(3, -1) // 256
    return colours.shape == (3, 2) and not colours[:, 0].any() and bool(colours[:, 1].any())


def _single_bits(image: ImageFile, path: Path) -> Array | None:
    """The pixels (h, w) bool of a TIFF of one bit per pixel, plain or deflated; None for any other file.

    Published masks are such files. Pillow takes several times as long, and tifffile inflates a strip to any size.
    """
    tags = tags_of(image)
    compression = image.info.get("compression")
    if (
        len(tags.get(Tag.StripOffsets, ())) not in range(1, image.height + 1)
        or image.tile[0].args[0] not in ("1", "P;1")  # type: ignore[index]
        or compression not in ("raw", "tiff_deflate", "tiff_adobe_deflate")
        or any(tags.get(tag, 1) != 1 for tag in (Tag.FillOrder, Tag.Orientation, Tag.Predictor))
        or (tags.get(Tag.PhotometricInterpretation) == PALETTE and not _black_and_colour(tags))
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
