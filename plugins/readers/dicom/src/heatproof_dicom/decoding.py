"""Decodes the pixels of DICOM files with pydicom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.pixels import apply_color_lut, apply_rescale, get_decoder, pixel_array

from heatproof.errors import DataError
from heatproof.records import Array, Geometry
from heatproof_dicom_files.headers import explained, open_dicom, side
from heatproof_dicom_files.series import list_series
from heatproof_dicom_files.units import CT_OFFSET

GREY = ("MONOCHROME1", "MONOCHROME2")


def read_dicom(path: Path, max_pixels: int) -> tuple[Array, Geometry]:
    """Read an image (c, h, w), c = 1 (grey) or 3 (RGB), uint8 or uint16, and its geometry; larger is brighter.

    CT becomes Hounsfield units + 1024, rounded and clipped at zero. Other grey images use the full range of their type:
    after the modality rescale, the smallest value that the file could store becomes 0 and the largest 255 (up to 8 bits
    stored) or 65535, inverted for MONOCHROME1. Unsigned values of 8 and 16 bits therefore stay as stored, and so does
    colour, as RGB. No window is applied. Raises ``DataError`` where the file cannot be used.
    """
    data = open_dicom(path)
    with explained(path):
        _require_image(data, path, max_pixels)
        read_pixels = _grey if data.PhotometricInterpretation in GREY else _colour
        image = read_pixels(data)
        spacing = data.get("PixelSpacing") or data.get("ImagerPixelSpacing") or None
        if spacing is not None:
            spacing = tuple(float(step) for step in spacing)
        orientation = _orientation(data)
    return image, Geometry(np.eye(3), image.shape[1:], str(path), spacing, orientation)


def read_mask(path: Path, max_pixels: int) -> Array:
    """Read a mask (h, w) bool: true where the stored value, palette index or first channel is above zero.

    Raises ``DataError`` where the file cannot be used, and for MONOCHROME1, where zero is white.
    """
    data = open_dicom(path)
    with explained(path):
        _require_image(data, path, max_pixels)
        if data.PhotometricInterpretation == "MONOCHROME1":
            raise DataError(f"{path} is MONOCHROME1, where zero is white; save the mask as MONOCHROME2 or PNG.")
        stored = pixel_array(data, raw=True)
    return np.asarray(np.atleast_3d(stored)[..., 0] > 0)


def read_series(paths: Sequence[Path], max_pixels: int) -> tuple[Array, Geometry]:
    """Read a CT scan (1, d, h, w) uint16 in Hounsfield units + 1024, in the order of ``list_series``, and its geometry.

    Raises ``DataError`` where the slices are not one scan without gaps, or have more than ``max_pixels`` voxels.
    """
    series = list_series(paths)
    source = series.slices[0].path.parent
    if np.prod(series.shape, dtype=np.int64) > max_pixels:
        raise DataError(f"{source} has more than {max_pixels:,} voxels; reduce it, or raise max_pixels.")
    image = np.stack([read_dicom(part.path, max_pixels)[0] for part in series.slices], axis=1)
    return image, Geometry(np.eye(4), series.shape, str(source), series.spacing, series.orientation)


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


def _grey(data: Any) -> Array:
    """Read a grey image (1, h, w) after the modality rescale, unsigned."""
    values = apply_rescale(pixel_array(data), data).astype(np.float64)[None]
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


def _colour(data: Any) -> Array:
    """Read an image in colour as RGB (3, h, w); palette indices become their colours."""
    values = pixel_array(data)
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
