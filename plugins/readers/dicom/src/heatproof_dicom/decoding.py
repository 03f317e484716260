"""Decodes the pixels of DICOM files with pydicom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_rescale, apply_windowing, get_decoder, pixel_array
from pydicom.uid import JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from heatproof.errors import DataError
from heatproof.imaging.window import Window, seen_through
from heatproof.records import Array, Geometry
from heatproof_dicom_files.headers import explained, open_dicom, side
from heatproof_dicom_files.series import list_series
from heatproof_dicom_files.units import CT_OFFSET

GREY = ("MONOCHROME1", "MONOCHROME2")
LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
VOI = ("WindowCenter", "WindowWidth", "VOILUTFunction")
"""The tags of a file's own window."""


def read_dicom(path: Path, max_pixels: int, window: Window) -> tuple[Array, Geometry]:
    """Read an image (c, h, w), c = 1 (grey) or 3 (RGB), uint8 or uint16, and its geometry; larger is brighter.

    With the window ``type``, CT becomes Hounsfield units + 1024, rounded and clipped at zero. Other grey images use the
    full range of their type: after the modality rescale, the smallest value that the file could store becomes 0 and the
    largest 255 (up to 8 bits stored) or 65535. Unsigned values of 8 and 16 bits therefore stay as stored, and so does
    colour, as RGB. Other windows take values after the modality rescale, such as Hounsfield units, to 0 … 65535.
    MONOCHROME1 is inverted. Raises ``DataError`` where the file cannot be used.
    """
    data = open_dicom(path)
    with explained(path):
        _require_image(data, path, max_pixels)
        if data.PhotometricInterpretation not in GREY:
            image = seen_through(_colour(data, path), window, path)
        elif window == "type":
            image = _grey(data, path)
        else:
            image = _seen_through(data, path, window)
        geometry = _geometry(data, image, path)
    return image, geometry


def _geometry(data: Any, image: Array, path: Path) -> Geometry:
    spacing = data.get("PixelSpacing") or data.get("ImagerPixelSpacing") or None
    if spacing is not None:
        spacing = tuple(float(step) for step in spacing)
    return Geometry(np.eye(3), image.shape[1:], str(path), spacing, _orientation(data))


def read_mask(path: Path, max_pixels: int) -> Array:
    """Read a mask (h, w) bool: true where the stored value, or a channel of the colour, is above zero.

    Raises ``DataError`` where the file cannot be used, for lossy compression, and for MONOCHROME1, where zero is white.
    """
    data = open_dicom(path)
    with explained(path):
        _require_image(data, path, max_pixels)
        _require_lossless(data, path)
        if data.PhotometricInterpretation == "MONOCHROME1":
            raise DataError(f"{path} is MONOCHROME1, where zero is white; save the mask as MONOCHROME2 or PNG.")
        if data.PhotometricInterpretation in GREY:
            return np.asarray(_decoded(data, path, raw=True) > 0)
        return np.asarray((_colour(data, path) > 0).any(axis=0))


def read_series(paths: Sequence[Path], max_pixels: int, window: Window) -> tuple[Array, Geometry]:
    """Read a CT scan (1, d, h, w) uint16 in the order of ``list_series``, and its geometry.

    Values are Hounsfield units + 1024 with the window ``type``; ``voi`` is the window of each slice, and other windows
    are those of the whole scan. Raises ``DataError`` where the slices are not one scan without gaps, or have more than
    ``max_pixels`` voxels.
    """
    series = list_series(paths)
    source = series.slices[0].path.parent
    if np.prod(series.shape, dtype=np.int64) > max_pixels:
        raise DataError(f"{source} has more than {max_pixels:,} voxels; reduce it, or raise max_pixels.")
    if window in ("type", "voi"):
        image = np.stack([read_dicom(part.path, max_pixels, window)[0] for part in series.slices], axis=1)
    else:
        values = np.stack([_units(part.path, max_pixels) for part in series.slices], axis=1)
        image = seen_through(values, window, source)
    return image, Geometry(np.eye(4), series.shape, str(source), series.spacing, series.orientation)


def _units(path: Path, max_pixels: int) -> Array:
    """The values (1, h, w) float32 of a slice after the modality rescale."""
    data = open_dicom(path)
    with explained(path):
        _require_image(data, path, max_pixels)
        return _values(data, path).astype(np.float32)


def _require_lossless(data: Any, path: Path) -> None:
    syntax = data.file_meta.TransferSyntaxUID
    lossy = data.get("LossyImageCompression")
    if syntax in LOSSY or lossy == "01" or (syntax == JPEG2000 and lossy != "00"):
        raise DataError(
            f"{path} has lossy compression ({syntax.name}), which changes the edges of a mask; save it without."
        )


def _require_image(data: Any, path: Path, max_pixels: int) -> None:
    """Raise ``DataError`` unless the file holds one image of a size and coding that can be read."""
    if "PixelData" not in data:
        kind = data.get("Modality") or "unknown"
        raise DataError(
            f"{path} (modality {kind}) has no pixel data: it is not an image, or it was cut off; replace it, or leave "
            "it out."
        )
    if int(data.get("NumberOfFrames") or 1) > 1:
        raise DataError(f"{path} holds {data.NumberOfFrames} frames; save the frame you need as a file of its own.")
    if int(data.Rows) * int(data.Columns) > max_pixels:
        raise DataError(f"{path} has more than {max_pixels:,} pixels; reduce it, or raise max_pixels.")
    if not 1 <= int(data.BitsStored) <= 16:
        raise DataError(f"{path} stores {data.BitsStored} bits per value; allowed: 1 to 16.")
    syntax = data.file_meta.TransferSyntaxUID
    decoder = get_decoder(syntax)
    if not decoder.is_available:
        needs = "; ".join(decoder.missing_dependencies)
        raise DataError(f"{path} is compressed ({syntax.name}), but no decoder is installed; install one of: {needs}.")


def _decoded(data: Any, path: Path, **options: Any) -> Array:
    """The stored values; raises ``DataError`` naming what to install where another decoder may read them."""
    syntax = data.file_meta.TransferSyntaxUID
    try:
        return np.asarray(pixel_array(data, **options))
    except Exception as error:
        decoder = get_decoder(syntax)
        if not decoder.missing_dependencies or "pydicom" in decoder.available_plugins:
            raise
        reason = " ".join(str(error).split())[:200]
        needs = "; ".join(decoder.missing_dependencies)
        raise DataError(
            f"{path} is compressed ({syntax.name}, {data.BitsStored} bits) in a way that the installed decoders cannot "
            f"read ({reason}); install one of: {needs}. If it still cannot be read, it is damaged: replace it."
        ) from error


def _values(data: Any, path: Path) -> Array:
    """The values (1, h, w) float64 of a grey image after the modality rescale."""
    slope = float(data.get("RescaleSlope", 1))
    intercept = float(data.get("RescaleIntercept", 0))
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise DataError(f"{path} has the rescale slope {slope:g} and intercept {intercept:g}; correct the header.")
    return np.asarray(apply_rescale(_decoded(data, path), data).astype(np.float64)[None])


def _grey(data: Any, path: Path) -> Array:
    """Read a grey image (1, h, w) after the modality rescale, unsigned."""
    values = _values(data, path)
    if data.get("Modality") == "CT":
        return np.asarray(np.rint(np.clip(values + CT_OFFSET, 0, 65535)).astype(np.uint16))
    low, high = _limits(data)
    if not low <= values.min() <= values.max() <= high or low == high:
        raise ValueError(f"values {values.min():g} to {values.max():g}, which {data.BitsStored} bits cannot store")
    shares = (values - low) / (high - low)
    if data.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    if int(data.BitsStored) <= 8:
        return np.asarray(np.rint(shares * 255).astype(np.uint8))
    return np.asarray(np.rint(shares * 65535).astype(np.uint16))


def _seen_through(data: Any, path: Path, window: Window) -> Array:
    """Read a grey image (1, h, w) uint16 through a window that is not that of its type."""
    values = _values(data, path)
    image = _by_own_window(values, data, path) if window == "voi" else seen_through(values, window, path)
    return np.asarray(65535 - image) if data.PhotometricInterpretation == "MONOCHROME1" else image


def _by_own_window(values: Array, data: Any, path: Path) -> Array:
    """The values as the first window or table of the file shows them, as uint16 (DICOM PS3.3 C.11.2)."""
    if data.get("VOILUTSequence"):
        return _by_table(values, data)
    if data.get("WindowCenter") is None or data.get("WindowWidth") is None:
        raise DataError(f"{path} names no window of its own; set `window` to percentiles or two numbers.")
    view = Dataset()
    for name in VOI:
        if name in data:
            setattr(view, name, data[name].value)
    # Without a rescale, pydicom's windows end at 0 and the largest value of the bits.
    view.PhotometricInterpretation = GREY[1]
    view.BitsStored = 16
    view.PixelRepresentation = 0
    return np.asarray(np.rint(apply_windowing(values, view)).astype(np.uint16))


def _by_table(values: Array, data: Any) -> Array:
    """The values through the first table of the file; pydicom's own function wraps at the 256th entry of 8 bits."""
    table = data.VOILUTSequence[0]
    length, first, bits = (int(number) for number in table.LUTDescriptor)
    entries = table.LUTData
    if isinstance(entries, bytes):
        order = "<>"[not data.file_meta.TransferSyntaxUID.is_little_endian]
        entries = np.frombuffer(entries, dtype=f"{order}u2")
    indices = np.clip(np.rint(values - first), 0, (length or 2**16) - 1).astype(np.int64)
    shares = np.asarray(entries, dtype=np.float64)[indices] / (2**bits - 1)
    return np.asarray(np.rint(shares * 65535).astype(np.uint16))


def _limits(data: Any) -> tuple[float, float]:
    """The smallest and the largest value that the file could store, after the modality rescale."""
    if "ModalityLUTSequence" in data:
        return 0.0, 2.0 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits = int(data.BitsStored)
    low = 0
    if int(data.PixelRepresentation):
        low = -(2 ** (bits - 1))
    slope = float(data.get("RescaleSlope", 1))
    intercept = float(data.get("RescaleIntercept", 0))
    limits = [stored * slope + intercept for stored in (low, low + 2**bits - 1)]
    return min(limits), max(limits)


def _colour(data: Any, path: Path) -> Array:
    """Read an image in colour as RGB (3, h, w); palette indices become their colours."""
    values = _decoded(data, path)
    if data.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, data)
    if values.ndim != 3 or values.dtype.kind != "u":
        raise ValueError(f"{data.PhotometricInterpretation} of shape {values.shape}, {values.dtype}")
    return np.asarray(np.moveaxis(values[..., :3], -1, 0), order="C")


def _orientation(data: Any) -> str:
    """The directions of rows and columns as two letters (Left, Posterior, Inferior …); empty without a header entry."""
    cosines = data.get("ImageOrientationPatient")
    if cosines:
        across, down = np.reshape([float(value) for value in cosines], (2, 3))
        return side(down) + side(across)
    names = data.get("PatientOrientation")
    if names and len(names) == 2 and all(names):
        return "".join({"H": "S", "F": "I"}.get(name[0], name[0]) for name in reversed(names))
    return ""
