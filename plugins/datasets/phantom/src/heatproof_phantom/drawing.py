"""Draws synthetic eyes: a colour fundus photograph with exact masks, from the plan of a patient."""

from dataclasses import dataclass

import numpy as np

from .anatomy import disc, retina, vessels
from .camera import aperture, haze, light, residual
from .frame import Frame
from .lesions import FINDINGS
from .opacity import opacities, visible
from .patients import Eye, eyes

__all__ = ["CENTRES", "Drawing", "draw", "eyes"]

CENTRES = ("optic_disc_centre", "fovea_centre")

# Blood lets this share of red, green and blue through; exudates reflect these grey levels under full light.
BLOOD = {"microaneurysms": (0.74, 0.42, 0.60), "haemorrhages": (0.68, 0.36, 0.55)}
EXUDATE = {"hard_exudates": (252, 222, 92), "soft_exudates": (244, 206, 138)}
VEIL = (190, 178, 120)


@dataclass(frozen=True)
class Drawing:
    """A synthetic photograph of one eye, with its masks, grade and centres.

    Parameters
    ----------
    image: numpy.ndarray
        (3, height, width) uint8, red, green, blue.
    masks: dict
        Finding to (height, width) bool; the four lesions and the optic disc, all False where absent.
    field: numpy.ndarray
        (height, width) bool, the field of view.
    grade: int
        0 to 4, by the rule of :func:`heatproof_phantom.patients.graded`.
    centres: dict
        ``optic_disc_centre`` and ``fovea_centre`` to (row, column), continuous: pixel i spans [i, i + 1).
    """

    image: np.ndarray
    masks: dict[str, np.ndarray]
    field: np.ndarray
    grade: int
    centres: dict[str, tuple[float, float]]


def draw(patient: int, eye: str, seed: int, height: int) -> Drawing:
    """Draw one eye of a patient; the scene is the same at every height."""
    return draw_eye(eyes(patient, seed)[eye], height)


def draw_eye(eye: Eye, height: int, suppressed: bool = False) -> Drawing:
    """Draw a planned eye; ``suppressed`` omits the lesions from the image, but not from the masks."""
    frame = Frame(height, eye.mirrored, eye.shift)
    opening = aperture(frame)
    field = opening >= 0.5
    lamp = light(eye, frame)
    clean, disc_mask = healthy(eye, frame, lamp, opening)
    planes = opacities(frame, eye.lesions, field)
    photograph = residual(eye, frame, clean)
    if suppressed:
        photograph += clean
    else:
        photograph += diseased(clean, planes, eye, lamp)
    image = np.clip(np.rint(photograph), 0, 255).astype(np.uint8)
    points = frame.pixels(np.stack([eye.disc, eye.fovea])).tolist()
    centres = {name: (row, column) for name, (column, row) in zip(CENTRES, points)}
    return Drawing(image, visible(planes) | {"optic_disc": disc_mask & field}, field, eye.grade, centres)


def healthy(eye: Eye, frame: Frame, lamp: np.ndarray, opening: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The eye without lesions, in grey levels, and the mask of its disc."""
    fundus = retina(eye, frame)
    disc_mask = disc(eye, frame, fundus)
    vessels(eye, frame, fundus)
    fundus *= lamp
    veil = haze(eye, frame)
    if veil is not None:
        for plane, level in zip(fundus, VEIL):
            plane += veil * (level - plane)
    fundus *= opening
    return np.clip(fundus, 0, 255), disc_mask


def diseased(clean: np.ndarray, planes: dict[str, np.ndarray], eye: Eye, lamp: np.ndarray) -> np.ndarray:
    """The healthy eye with its lesions: blood dims the retina below it, exudates cover it."""
    scene = clean.copy()
    for finding in FINDINGS:
        rows, columns = np.nonzero(planes[finding])
        depth = planes[finding][rows, columns]
        for channel in range(3):
            under = scene[channel, rows, columns]
            if finding in BLOOD:
                above = BLOOD[finding][channel] * under
            else:
                above = lamp[channel, rows, columns] * EXUDATE[finding][channel]
            scene[channel, rows, columns] = under + depth * (above - under)
    return scene
