"""Writes images as DICOM."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.uid import generate_uid

from heatproof.errors import DataError, near
from heatproof.records import Array

from .units import CT_OFFSET

CLASSES = {
    "CT": "CTImageStorage", "CR": "ComputedRadiographyImageStorage", "DX": "DigitalXRayImageStorageForPresentation",
}  # fmt: skip
EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "SeriesNumber", "InstanceNumber", "Manufacturer", "Laterality",
)  # fmt: skip
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
SYNTHETIC = {"SyntheticData": "YES", "ImageComments": "synthetic: no person was imaged"}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "CT": {"RescaleSlope": 1, "RescaleIntercept": -CT_OFFSET, "RescaleType": "HU", "KVP": "", "AcquisitionNumber": ""},
    "CR": {"ViewPosition": "", "BodyPartExamined": ""},
    "DX": {"PresentationIntentType": "FOR PRESENTATION", "PatientOrientation": "", "BodyPartExamined": ""},
}


def write_dicom(image: Array, path: Path, synthetic: bool = False, **tags: Any) -> None:
    """Write an image (c, h, w), c = 1 of uint8 or uint16 or c = 3 of uint8; the reader of DICOM reads it back.

    ``tags`` are DICOM keywords; ``Modality`` is CT (Hounsfield units + 1024), CR or DX (default). Missing UIDs are
    derived from image and tags, so the same call writes the same file. Raises ``DataError`` for other images, tags and
    modalities.
    """
    kind = str(tags.get("Modality", "DX"))
    _require_writable(image, path, kind, tags)
    content = [sha256(image.tobytes()).hexdigest(), *(f"{name}={tags[name]}" for name in sorted(tags))]
    uids = {name: generate_uid(entropy_srcs=[name, *content]) for name in UIDS}
    values = {**dict.fromkeys(EMPTY, ""), **DEFAULTS[kind], "Modality": kind, **uids}
    image_type = ["ORIGINAL", "PRIMARY"]
    if synthetic:
        values |= SYNTHETIC
        image_type[0] = "DERIVED"
    if kind == "CT":
        image_type.append("AXIAL")
    data = pydicom.Dataset()
    for name, value in (values | tags).items():
        setattr(data, name, value)
    data.SOPClassUID = getattr(pydicom.uid, CLASSES[kind])
    data.ImageType = image_type
    data.file_meta = pydicom.dataset.FileMetaDataset()
    photometric = {1: "MONOCHROME2", 3: "RGB"}[len(image)]
    pixels = np.moveaxis(image, 0, -1)
    if len(image) == 1:
        pixels = image[0]
    data.set_pixel_data(np.ascontiguousarray(pixels), photometric, image.itemsize * 8, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def _require_writable(image: Array, path: Path, kind: str, tags: Mapping[str, Any]) -> None:
    depths = {1: (np.uint8, np.uint16), 3: (np.uint8,)}.get(len(image), ())
    if image.ndim != 3 or image.dtype not in depths or (kind == "CT" and image.dtype != np.uint16):
        raise DataError(
            f"{path} cannot hold an image {tuple(image.shape)} of {image.dtype} as {kind}; give (1 or 3, h, w) of "
            "uint8, or (1, h, w) of uint16, which CT must be."
        )
    if kind not in CLASSES:
        raise DataError(f"{path} cannot be written as modality {kind!r}; {near(kind, CLASSES)}")
    unknown = [name for name in tags if tag_for_keyword(name) is None]
    if unknown:
        raise DataError(f"{path} cannot hold {', '.join(unknown)}; give keywords of DICOM, such as PatientID.")
