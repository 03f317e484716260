"""Writes a volume with nodules in the layout of LIDC-IDRI: a folder of slices and an XML."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from heatproof.errors import DataError
from heatproof.records import Array, Sample
from heatproof_dicom_files.units import CT_OFFSET
from heatproof_dicom_files.writing import write_dicom

from .markup import CHARACTERISTICS
from .outline import edge_maps

NAMESPACE = "http://www.nih.gov"
Uids = Mapping[str, str]
Heights = Sequence[tuple[str, float]]
"""The UID of each slice and its height in mm."""


def write_scan(sample: Sample, root: Path, window: tuple[float, float]) -> None:
    """Write a sample (1, d, h, w) uint16, scaled by the window, with the ``extras`` of whole scans of ``Lidc``.

    The DICOM files are labelled as synthetic. Raises ``DataError`` for other samples, for annotated voxels outside of
    every box of the ratings, and for nodules at the border, where no outline can run around them.
    """
    spacing = _spacing(sample)
    uids = _uids(sample)
    folder = root / sample.patient / uids["StudyInstanceUID"] / uids["SeriesInstanceUID"]
    heights = _write_slices(sample, folder, spacing, window, uids)
    message = ElementTree.Element("LidcReadMessage", {"xmlns": NAMESPACE})
    header = ElementTree.SubElement(message, "ResponseHeader")
    _add(header, "SeriesInstanceUid", uids["SeriesInstanceUID"])
    _add(header, "StudyInstanceUID", uids["StudyInstanceUID"])
    for annotation in sample.annotations:
        session = ElementTree.SubElement(message, "readingSession")
        _add(session, "servicingRadiologistID", "anonymous")
        _add_nodules(session, sample, annotation.values >= 0.5, annotation.reader, heights)
        _add_points(session, sample, annotation.reader, heights)
    ElementTree.ElementTree(message).write(folder / "annotations.xml", encoding="UTF-8", xml_declaration=True)


def _spacing(sample: Sample) -> tuple[float, ...]:
    """The spacing of a volume that can be written; raise ``DataError`` for other samples."""
    spacing = None
    if sample.geometry:
        spacing = sample.geometry.spacing
    if sample.image.ndim != 4 or len(sample.image) != 1 or sample.image.dtype != np.uint16 or not spacing:
        raise DataError(
            f"{sample.id} has an image {sample.image.shape} of {sample.image.dtype}; lidc holds volumes (1, d, h, w) "
            "of uint16 with a spacing."
        )
    if Path(sample.patient).name != sample.patient or "\\" in sample.patient:
        raise DataError(f"{sample.patient!r} cannot be the name of a folder; give patients without slashes.")
    readers = [annotation.reader for annotation in sample.annotations]
    if len(set(readers)) < len(readers) or not readers:
        raise DataError(f"{sample.id} has annotations of readers {readers}; give one annotation of nodule per reader.")
    return spacing


def _uids(sample: Sample) -> Uids:
    from pydicom.uid import generate_uid

    keys = {"StudyInstanceUID": [sample.patient], "SeriesInstanceUID": [sample.patient, sample.id]}
    return {name: str(generate_uid(entropy_srcs=["lidc", name, *key])) for name, key in keys.items()}


def _write_slices(
    sample: Sample, folder: Path, spacing: tuple[float, ...], window: tuple[float, float], uids: Uids
) -> Heights:
    """Write the slices from foot to head; return the UID and the height of each."""
    from pydicom.uid import generate_uid

    step, *pixel = spacing
    low, high = window
    units = np.rint(sample.image / 65535 * (high - low) + low + CT_OFFSET)
    heights = []
    for index in range(sample.space[0]):
        uid = str(generate_uid(entropy_srcs=[uids["SeriesInstanceUID"], str(index)]))
        height = round(index * step, 6)
        heights.append((uid, height))
        write_dicom(
            np.clip(units[:, index], 0, 65535).astype(np.uint16), folder / f"1-{index + 1:03d}.dcm", synthetic=True,
            Modality="CT", PatientID=sample.patient, SOPInstanceUID=uid, **uids, SliceThickness=step,
            InstanceNumber=index + 1, PixelSpacing=pixel, ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, height],
        )  # fmt: skip
    return heights


def _add_nodules(session: ElementTree.Element, sample: Sample, mask: Array, reader: str, heights: Heights) -> None:
    """Add the outlines of one reader, with a nodule for each of the reader's ratings."""
    remaining = mask.copy()
    for rating in sample.extras.get("ratings", ()):
        if rating["reader"] == reader:
            box = tuple(slice(*ends) for ends in rating["box"])
            boxed = np.zeros_like(mask)
            boxed[box] = mask[box]
            remaining[box] = False
            nodule = _nodule(session, f"{rating['nodule']:03d}")
            characteristics = ElementTree.SubElement(nodule, "characteristics")
            for name in CHARACTERISTICS:
                if name in rating:
                    _add(characteristics, name, rating[name])
            _add_outlines(nodule, boxed, sample, heights)
    if remaining.any():
        raise DataError(
            f"{sample.id} has voxels of {reader} outside of every box of extras['ratings']: {remaining.sum()}; "
            "give a rating with a box for each nodule."
        )


def _add_outlines(nodule: ElementTree.Element, mask: Array, sample: Sample, heights: Heights) -> None:
    inner = np.zeros_like(mask)
    inner[:, 1:-1, 1:-1] = True
    if (mask & ~inner).any():
        raise DataError(
            f"{sample.id} has a nodule at the border, which no outline can run around; leave a margin of one pixel."
        )
    for index in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        for chain in edge_maps(mask[index]):
            _add_roi(nodule, heights[index], chain)


def _add_points(session: ElementTree.Element, sample: Sample, reader: str, heights: Heights) -> None:
    """Add the points of one reader at nodules below 3 mm."""
    for number, point in enumerate(sample.extras.get("small", ()), 1):
        if point["reader"] == reader:
            index, *pixel = point["place"]
            _add_roi(_nodule(session, f"small {number:03d}"), heights[index], np.array([pixel]))


def _nodule(session: ElementTree.Element, name: str) -> ElementTree.Element:
    nodule = ElementTree.SubElement(session, "unblindedReadNodule")
    _add(nodule, "noduleID", f"Nodule {name}")
    return nodule


def _add_roi(nodule: ElementTree.Element, height: tuple[str, float], chain: Array) -> None:
    roi = ElementTree.SubElement(nodule, "roi")
    _add(roi, "imageZposition", height[1])
    _add(roi, "imageSOP_UID", height[0])
    _add(roi, "inclusion", "TRUE")
    for row, column in chain.tolist():
        edge = ElementTree.SubElement(roi, "edgeMap")
        _add(edge, "xCoord", column)
        _add(edge, "yCoord", row)


def _add(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, name).text = str(value)
