"""The subjects that the phantom can draw: their classes, findings and extras, and the functions that draw them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from heatproof.errors import DataError
from heatproof.records import Annotation, Attribute, Label, Sample

from . import chest, drawing, thorax

LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
LARGEST = 192
GRADES = ("no_dr", "mild", "moderate", "severe", "proliferative")


@dataclass(frozen=True)
class Subject:
    """A kind of image; ``views`` names the images of one patient.

    ``label`` returns the class of an image by (patient, view, seed). ``draw`` returns its sample by (patient, view,
    seed, height in pixels); id, patient and geometry may be empty. ``optional`` findings are drawn on request only.
    ``attributes`` are functions as ``label``, by name.
    """

    classes: tuple[str, ...]
    findings: tuple[str, ...]
    views: tuple[str, ...]
    draw: Callable[[int, str, int, int], Sample]
    label: Callable[[int, str, int], Label]
    extras: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    attributes: Mapping[str, Callable[[int, str, int], Attribute]] = field(default_factory=dict)


def _eye(patient: int, view: str, seed: int, height: int) -> Sample:
    """Draw one eye: image (3, height, width) uint8, one mask per finding, all zero where absent."""
    eye = drawing.draw(patient, view, seed, height)
    masks = (Annotation(finding, eye.masks[finding], reader="phantom") for finding in SUBJECTS["eye"].findings)
    return Sample("", eye.image, tuple(masks), eye.grade, field=eye.field, extras=eye.centres)


def _thorax(patient: int, view: str, seed: int, height: int) -> Sample:
    """Draw one scan (1, height // 2, height, height); raise ``DataError`` for one that would fill the memory."""
    if height > LARGEST:
        raise DataError(f"a thorax {height} voxels high would fill the memory; give a height of at most {LARGEST}.")
    return thorax.thorax(patient, seed, height)


SUBJECTS: Mapping[str, Subject] = {
    "eye": Subject(
        classes=GRADES,
        findings=(*LESIONS, "optic_disc"),
        views=("left", "right"),
        draw=_eye,
        label=lambda patient, view, seed: drawing.eyes(patient, seed)[view].grade,
        extras=drawing.CENTRES,
        optional=("optic_disc",),
        attributes={
            "laterality": lambda patient, view, seed: view,
            "lesions": lambda patient, view, seed: len(drawing.eyes(patient, seed)[view].lesions),
        },
    ),
    "chest": Subject(
        classes=chest.CLASSES,
        findings=chest.FINDINGS,
        views=chest.STUDIES,
        draw=chest.draw,
        label=lambda patient, view, seed: chest.planned(patient, view, seed).label,
        extras=chest.EXTRAS,
        attributes={
            "study": lambda patient, view, seed: view,
            "cardiothoracic_ratio": lambda patient, view, seed: float(chest.planned(patient, view, seed).ratio),
        },
    ),
    "thorax": Subject(
        classes=(),
        findings=("nodule",),
        views=("scan",),
        draw=_thorax,
        label=lambda patient, view, seed: None,
        extras=thorax.EXTRAS,
    ),
}
