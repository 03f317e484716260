"""Reads and writes DICOM pictures by pydicom, where it is installed."""

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, near
from ..records import Array, Geometry

MAX_PIXELS = 150_000_000
CT_OFFSET = 1024
"""What a picture of CT has more than Hounsfield units, so that air (-1000) is above zero."""

DAMAGES = (
    OSError, AttributeError, RuntimeError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error,
    zlib.error,
)  # fmt: skip
CLASSES = {
    "CT": "CTImageStorage", "CR": "ComputedRadiographyImageStorage", "DX": "DigitalXRayImageStorageForPresentation",
}  # fmt: skip
EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "SeriesNumber", "InstanceNumber", "Manufacturer", "Laterality",
)  # fmt: skip
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
OWN: Mapping[str, Mapping[str, Any]] = {
    "CT": {"RescaleSlope": 1, "RescaleIntercept": -CT_OFFSET, "RescaleType": "HU", "KVP": "", "AcquisitionNumber": ""},
    "CR": {"ViewPosition": "", "BodyPartExamined": ""},
    "DX": {"PresentationIntentType": "FOR PRESENTATION", "PatientOrientation": "", "BodyPartExamined": ""},
}


def optional(library: str, purpose: str) -> Any:
    """A library that is imported when it is first needed; raises ``DataError`` where it is not installed."""
    try:
        return import_module(library)
    except ImportError:
        name = library.partition(".")[0]
        raise DataError(f"{name} is not installed, which {purpose}; install it by 'pip install {name}'.") from None


def windowed(values: Array, low: float, high: float) -> Array:
    """Values as uint16: ``low`` and what is below it 0, ``high`` and what is above it 65535, linear in between."""
    shares = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    return np.rint(np.clip(shares, 0, 1) * 65535).astype(np.uint16)


def read_dicom(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Array, Geometry]:
    """One picture (c, h, w), c = 1 (grey) or 3 (RGB), uint8 or uint16, larger being brighter; and its geometry.

    CT is Hounsfield units + 1024, rounded, below zero cut off. Other grey pictures fill their type: after the modality
    rescale the smallest value that the file could store is 0 and the largest 255 (up to 8 bits stored) or 65535, the
    other way round for MONOCHROME1. So 8 and 16 bits without sign stay as stored. Colour stays as stored, as RGB. No
    window is applied. Raises ``DataError`` when the file cannot be used.
    """
    data = open_dicom(path)
    with explained(path):
        _require_picture(data, path, max_pixels)
        image = _colour(data) if data.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2") else _grey(data)
        spacing = data.get("PixelSpacing") or data.get("ImagerPixelSpacing")
        spacing = tuple(float(step) for step in spacing) if spacing else None
        orientation = _orientation(data)
    return image, Geometry(np.eye(3), image.shape[1:], str(path), spacing, orientation)


def write_dicom(image: Array, path: Path, synthetic: bool = False, **tags: Any) -> None:
    """Write a picture (c, h, w), c = 1 of uint8 or uint16 or c = 3 of uint8, as ``read_dicom`` returns it.

    ``tags`` are DICOM keywords; ``Modality`` is CT (Hounsfield units + 1024), CR or DX (default). UIDs that are not
    given follow from picture and tags, so the same call writes the same file. Raises ``DataError`` for other pictures,
    tags and modalities.
    """
    kind = str(tags.get("Modality", "DX"))
    _require_writable(image, path, kind, tags)
    dicom, uids = optional("pydicom", "writes DICOM"), optional("pydicom.uid", "writes DICOM")
    seen = [sha256(image.tobytes()).hexdigest(), *(f"{name}={tags[name]}" for name in sorted(tags))]
    made = {name: uids.generate_uid(entropy_srcs=[name, *seen]) for name in UIDS}
    marked = {"SyntheticData": "YES", "ImageComments": "synthetic: no person was imaged"} if synthetic else {}
    data = dicom.Dataset()
    for name, value in ({**dict.fromkeys(EMPTY, ""), **OWN[kind], "Modality": kind, **made, **marked} | tags).items():
        setattr(data, name, value)
    data.SOPClassUID = getattr(uids, CLASSES[kind])
    data.ImageType = ["DERIVED" if synthetic else "ORIGINAL", "PRIMARY", *(["AXIAL"] if kind == "CT" else [])]
    data.file_meta = dicom.dataset.FileMetaDataset()
    pixels, photometric = (image[0], "MONOCHROME2") if len(image) == 1 else (np.moveaxis(image, 0, -1), "RGB")
    data.set_pixel_data(np.ascontiguousarray(pixels), photometric, image.itemsize * 8, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Whatever pydicom and its decoders have to say against a file becomes a ``DataError``."""
    # Odd tags that pydicom passes over say nothing about the pixels. Never set back: other threads read too, and the
    # last of them would bring back what holds for all warnings meanwhile.
    warnings.filterwarnings("ignore", module="pydicom")
    try:
        yield
    except DAMAGES as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} is damaged or of a kind that cannot be decoded ({reason}); replace it.") from error


def open_dicom(path: Path, **limits: Any) -> Any:
    """The file as pydicom parses it, as far as ``limits`` say; raises ``DataError`` where there is none."""
    dicom = optional("pydicom", "reads DICOM")
    if not path.is_file():
        raise DataError(f"{path} does not exist; download it, or correct the path.")
    try:
        with explained(path):
            return dicom.dcmread(path, **limits)
    except dicom.errors.InvalidDicomError:
        raise DataError(f"{path} is not DICOM, or was cut off; replace it by a fresh copy.") from None


def _require_writable(image: Array, path: Path, kind: str, tags: Mapping[str, Any]) -> None:
    depths = {1: (np.uint8, np.uint16), 3: (np.uint8,)}.get(len(image), ())
    if image.ndim != 3 or image.dtype not in depths or (kind == "CT" and image.dtype != np.uint16):
        raise DataError(
            f"{path} cannot hold an image {tuple(image.shape)} of {image.dtype} as {kind}; give (1 or 3, h, w) of "
            "uint8, or (1, h, w) of uint16, which CT must be."
        )
    if kind not in CLASSES:
        raise DataError(f"{path} cannot be written as modality {kind!r}; {near(kind, CLASSES)}")
    known = optional("pydicom.datadict", "writes DICOM").tag_for_keyword
    unknown = [name for name in tags if known(name) is None]
    if unknown:
        raise DataError(f"{path} cannot hold {', '.join(unknown)}; give keywords of DICOM, such as PatientID.")


def _require_picture(data: Any, path: Path, max_pixels: int) -> None:
    """Raise ``DataError`` unless the file holds one picture of a size and coding that can be read."""
    if "PixelData" not in data:
        kind = data.get("Modality") or "unknown"
        raise DataError(f"{path} (modality {kind}) has no pixel data: no picture, or cut off; replace it or leave out.")
    if int(data.get("NumberOfFrames") or 1) > 1:
        raise DataError(f"{path} holds {data.NumberOfFrames} frames; save the one that is meant as a file of its own.")
    if int(data.Rows) * int(data.Columns) > max_pixels:
        raise DataError(f"{path} has more than {max_pixels:,} pixels; reduce it, or raise max_pixels.")
    if not 1 <= int(data.BitsStored) <= 16:
        raise DataError(f"{path} stores {data.BitsStored} bits per value; allowed: 1 to 16.")
    syntax = data.file_meta.TransferSyntaxUID
    decoder = optional("pydicom.pixels", "decodes pixels").get_decoder(syntax)
    if not decoder.is_available:
        needs = "; ".join(decoder.missing_dependencies)
        raise DataError(f"{path} is compressed ({syntax.name}), but no decoder is installed; install one of: {needs}.")


def _grey(data: Any) -> Array:
    """A grey picture (1, h, w) after the modality rescale, unsigned."""
    pixels = optional("pydicom.pixels", "decodes pixels")
    values = pixels.apply_rescale(pixels.pixel_array(data), data).astype(np.float64)[None]
    if data.get("Modality") == "CT":
        return np.asarray(np.rint(np.clip(values + CT_OFFSET, 0, 65535)).astype(np.uint16))
    low, high = _limits(data)
    if not low <= values.min() <= values.max() <= high or low == high:
        raise ValueError(f"values {values.min():g} to {values.max():g}, which {data.BitsStored} bits cannot store")
    shares = (values - low) / (high - low)
    shares = 1 - shares if data.PhotometricInterpretation == "MONOCHROME1" else shares
    white, kind = (255, np.uint8) if int(data.BitsStored) <= 8 else (65535, np.uint16)
    return np.asarray(np.rint(shares * white).astype(kind))


def _limits(data: Any) -> tuple[float, float]:
    """The smallest and the largest value that the file could store, after the modality rescale."""
    if "ModalityLUTSequence" in data:
        return 0.0, 2.0 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits, signed = int(data.BitsStored), int(data.PixelRepresentation)
    low = -(2 ** (bits - 1)) if signed else 0
    ends = [
        end * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
        for end in (low, low + 2**bits - 1)
    ]
    return min(ends), max(ends)


def _colour(data: Any) -> Array:
    """A picture in colour as RGB (3, h, w); a palette is looked up."""
    pixels = optional("pydicom.pixels", "decodes pixels")
    values = pixels.pixel_array(data)
    if data.PhotometricInterpretation == "PALETTE COLOR":
        values = pixels.apply_color_lut(values, data)
    if values.ndim != 3 or values.dtype.kind != "u":
        raise ValueError(f"{data.PhotometricInterpretation} of shape {values.shape}, {values.dtype}")
    return np.asarray(np.moveaxis(values[..., :3], -1, 0), order="C")


def _orientation(data: Any) -> str:
    """Where rows and columns lead: two letters (Left, Posterior, Inferior …), empty where the header does not say."""
    cosines, named = data.get("ImageOrientationPatient"), data.get("PatientOrientation")
    if cosines:
        across, down = np.reshape([float(value) for value in cosines], (2, 3))
        return side(down) + side(across)
    if named and len(named) == 2 and all(named):
        return "".join({"H": "S", "F": "I"}.get(name[0], name[0]) for name in reversed(named))
    return ""


def side(axis: Array) -> str:
    """The side of the patient to which an axis mainly leads."""
    main = int(np.argmax(np.abs(axis)))
    return ("RL", "AP", "IS")[main][int(axis[main] > 0)]
