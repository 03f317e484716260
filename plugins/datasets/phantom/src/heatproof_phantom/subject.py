"""What the phantom can draw: by subject, its classes, findings and extras, and who draws a sample of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from heatproof.errors import DataError
from heatproof.records import Annotation, Label, Sample

from . import chest, drawing, thorax

LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
LARGEST = 192
GRADES = ("no_dr", "mild", "moderate", "severe", "proliferative")


@dataclass(frozen=True)
class Subject:
    """A kind of image: ``views`` are the images of one patient, of each of which ``label`` knows the class.

    ``draw`` and ``label`` are asked for (patient, view, seed), ``draw`` with the height in pixels besides; the sample
    comes without id, patient and geometry. ``optional`` findings are given on request only.
    """

    classes: tuple[str, ...]
    findings: tuple[str, ...]
    views: tuple[str, ...]
    draw: Callable[[int, str, int, int], Sample]
    label: Callable[[int, str, int], Label]
    extras: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


def _eye(patient: int, view: str, seed: int, height: int) -> Sample:
    """One eye: image (3, height, width) uint8, one mask per finding, all zero where absent."""
    drawn = drawing.draw(patient, view, seed, height)
    marks = (Annotation(finding, drawn.masks[finding], reader="phantom") for finding in SUBJECTS["eye"].findings)
    return Sample("", drawn.image, tuple(marks), drawn.grade, field=drawn.field, extras=drawn.centres)


def _thorax(patient: int, view: str, seed: int, height: int) -> Sample:
    """One scan (1, height // 2, height, height); raises ``DataError`` for one that would fill the memory."""
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
    ),
    "chest": Subject(
        classes=chest.CLASSES,
        findings=chest.FINDINGS,
        views=chest.STUDIES,
        draw=chest.draw,
        label=lambda patient, view, seed: chest.planned(patient, view, seed).label,
        extras=chest.EXTRAS,
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
