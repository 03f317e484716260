"""Writes a volume with nodules as LIDC-IDRI publishes its scans: a folder of slices and an XML."""

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
    """Write a sample (1, d, h, w) uint16 by the window, with ``extras`` as ``Lidc`` gives them to whole scans.

    The files are marked as synthetic. Raises ``DataError`` for other samples, and for marks that no rating's box holds
    or that touch the border, where no outline could run around them.
    """
    spacing, uids = _spacing(sample), _uids(sample)
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
    """The spacing of a volume that can be written; raises ``DataError`` for other samples."""
    spacing = sample.geometry.spacing if sample.geometry else None
    if sample.image.ndim != 4 or len(sample.image) != 1 or sample.image.dtype != np.uint16 or not spacing:
        raise DataError(
            f"{sample.id} has an image {sample.image.shape} of {sample.image.dtype}; lidc holds volumes (1, d, h, w) "
            "of uint16 with a spacing."
        )
    if Path(sample.patient).name != sample.patient or "\\" in sample.patient:
        raise DataError(f"{sample.patient!r} cannot be the name of a folder; give patients without slashes.")
    readers = [annotation.reader for annotation in sample.annotations]
    if len(set(readers)) < len(readers) or not readers:
        raise DataError(
            f"{sample.id} has annotations of readers {readers}; give one of finding nodule for each reader."
        )
    return spacing


def _uids(sample: Sample) -> Uids:
    from pydicom.uid import generate_uid

    parts = {"StudyInstanceUID": [sample.patient], "SeriesInstanceUID": [sample.patient, sample.id]}
    return {name: str(generate_uid(entropy_srcs=["lidc", name, *seen])) for name, seen in parts.items()}


def _write_slices(
    sample: Sample, folder: Path, spacing: tuple[float, ...], window: tuple[float, float], uids: Uids
) -> Heights:
    """Write the slices from foot to head."""
    from pydicom.uid import generate_uid

    (step, *pixel), (low, high) = spacing, window
    units = np.rint(sample.image / 65535 * (high - low) + low + CT_OFFSET)
    heights = []
    for index in range(sample.space[0]):
        uid, height = str(generate_uid(entropy_srcs=[uids["SeriesInstanceUID"], str(index)])), round(index * step, 6)
        heights.append((uid, height))
        write_dicom(
            np.clip(units[:, index], 0, 65535).astype(np.uint16), folder / f"1-{index + 1:03d}.dcm", synthetic=True,
            Modality="CT", PatientID=sample.patient, SOPInstanceUID=uid, **uids, SliceThickness=step,
            InstanceNumber=index + 1, PixelSpacing=pixel, ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[0, 0, height],
        )  # fmt: skip
    return heights


def _add_nodules(session: ElementTree.Element, sample: Sample, mask: Array, reader: str, heights: Heights) -> None:
    """What one reader outlined, a nodule for each of his ratings."""
    left = mask.copy()
    for rating in sample.extras.get("ratings", ()):
        if rating["reader"] == reader:
            box = tuple(slice(*ends) for ends in rating["box"])
            own = np.zeros_like(mask)
            own[box], left[box] = mask[box], False
            nodule = _nodule(session, f"{rating['nodule']:03d}")
            given = ElementTree.SubElement(nodule, "characteristics")
            for name in CHARACTERISTICS:
                if name in rating:
                    _add(given, name, rating[name])
            _add_outlines(nodule, own, sample, heights)
    if left.any():
        raise DataError(f"{sample.id}: {reader} marks {left.sum()} voxels outside of every box of extras['ratings'].")


def _add_outlines(nodule: ElementTree.Element, mask: Array, sample: Sample, heights: Heights) -> None:
    inner = np.zeros_like(mask)
    inner[:, 1:-1, 1:-1] = True
    if (mask & ~inner).any():
        raise DataError(f"{sample.id} has a nodule at the border, which no outline can run around; leave a pixel.")
    for index in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
        for chain in edge_maps(mask[index]):
            _add_roi(nodule, heights[index], chain)


def _add_points(session: ElementTree.Element, sample: Sample, reader: str, heights: Heights) -> None:
    """The nodules below 3 mm that one reader marked by a point."""
    for number, point in enumerate(sample.extras.get("small", ()), 1):
        if point["reader"] == reader:
            index, *place = point["place"]
            _add_roi(_nodule(session, f"small {number:03d}"), heights[index], np.array([place]))


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
