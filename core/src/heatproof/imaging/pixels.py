"""The pixels of images that Pillow opened: channel by channel, and as shown."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag

from ..errors import DataError
from ..records import Array
from .turning import TURNS, UPRIGHT, turned

MODES = {"L", "RGB", "I;16", "I;16B", "I;16L", "I;16N", "I", "F"}
CONVERTED = {"1": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
"""Other modes of Pillow → the mode that they are converted to."""
RGB = 2
"""The value of TIFF's tag ``PhotometricInterpretation`` for RGB."""
UNSIGNED = 1
"""The value of TIFF's tag ``SampleFormat`` for unsigned integers, which it has by default."""
LINES = 128
"""The number of lines that are split into channels at a time."""


def pixels_of(opened: Image.Image, path: Path, exif: int) -> Array:
    """The pixels (c, h, w) of an image of this EXIF orientation, as shown: of 8 or 16 bits, or the file's own values.

    Raises ``DataError`` for pixels that are neither grey nor RGB, or not finite.
    """
    if opened.mode not in MODES | CONVERTED.keys():
        raise DataError(f"{path} has pixels of mode {opened.mode}; save it as grey or RGB.")
    if deep(opened):
        return np.ascontiguousarray(turned(_deep_bands(path), exif))
    if opened.mode in CONVERTED or opened.mode in ("L", "RGB"):
        image = _bands(opened)
    else:
        image = values_of(opened, path)[None]
    return as_shown(image, opened, exif)


def as_shown(values: Array, opened: Image.Image, exif: int) -> Array:
    """What Pillow loaded (…, h, w) of an image of this EXIF orientation, as shown."""
    # Pillow turns TIFF by itself.
    return values if opened.format == "TIFF" else np.ascontiguousarray(turned(values, exif))


def tags_of(opened: Image.Image) -> dict[int, Any]:
    """The tags of a TIFF; empty for other formats."""
    return dict(getattr(opened, "tag_v2", {}))


def exif_orientation(opened: Image.Image) -> int:
    """The EXIF orientation of an image before its pixels are loaded; 1 where none is valid."""
    exif = None
    # Viewers show an image whose EXIF data are damaged as it is stored.
    with suppress(Exception):
        exif = opened.getexif().get(Tag.Orientation)
    return exif if exif in TURNS else UPRIGHT


def values_of(opened: Image.Image, path: Path) -> Array:
    """The values (h, w) of a grey image of more than 8 bits: uint16, uint32, int32 or finite float32."""
    tags = tags_of(opened)
    values = np.asarray(opened)
    if opened.mode == "F":
        require_finite(values, path)
    elif opened.mode != "I" or opened.format in ("PPM", "PNG"):
        # Pillow stretches the grey values of PGM, whatever their white, to 16 bits.
        values = values.astype(np.uint16)
    elif opened.format == "TIFF" and tags.get(Tag.SampleFormat, (UNSIGNED,))[0] == UNSIGNED:
        # Pillow has no unsigned type of 32 bits.
        values = values.view(np.uint32) if 32 in tags.get(Tag.BitsPerSample, ()) else values.astype(np.uint16)
    return values


def require_finite(values: Array, path: Path) -> None:
    """Raise ``DataError`` for values that are NaN or infinite."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = np.count_nonzero(~np.isfinite(values))
        raise DataError(f"{path} holds values that are NaN or infinite ({count:,}); fill them, or leave the file out.")


def _bands(opened: Image.Image) -> Array:
    """The pixels (c, h, w), copied by lines and channels, since transposing the whole takes four times as long."""
    if opened.mode in CONVERTED:
        opened = opened.convert(CONVERTED[opened.mode])
    bands = opened.getbands()
    image = np.empty((len(bands), opened.height, opened.width), dtype=np.uint8)
    for top in range(0, opened.height, LINES):
        part = opened.crop((0, top, opened.width, min(top + LINES, opened.height)))
        for values, band in zip(image[:, top : top + LINES], bands):
            values[...] = np.frombuffer(part.tobytes("raw", band), dtype=np.uint8).reshape(values.shape)
    return image


def deep(image: Image.Image) -> bool:
    """Whether an image is a TIFF with colours of 16 bits, of which Pillow returns only 8."""
    tags = tags_of(image)
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
