"""Camera of the synthetic photographs: field of view, light, haze, and the noise of sensor and JPEG."""

import io

import numpy as np
from PIL import Image

from .frame import Frame
from .patients import Eye
from .texture import COARSE, bell, grain, stretch

NOTCH = ((-32.3, 2.3), (-28.0, 2.3))
QUALITY = 88


def aperture(frame: Frame) -> np.ndarray:
    """Share of each pixel that the field of view covers: a disc with the camera's two orientation notches."""
    x = frame.x * frame.sign
    reach = np.hypot(x, frame.y)
    edge = np.ones_like(reach)
    rows = slice(0, frame.height // 2)
    columns = slice(frame.width // 2, None)
    angle = np.degrees(np.arctan2(frame.y[rows], x[:, columns]))
    for centre, half in NOTCH:
        edge[rows, columns] += 0.04 * np.clip(1 - np.abs(angle - centre) / half, 0, 1)
    return np.asarray(np.clip((edge - reach) / max(0.004, 1 / frame.radius) + 0.5, 0, 1))


def light(eye: Eye, frame: Frame) -> np.ndarray:
    """Share of the light that reaches red, green and blue, (3, height, width): the edge is dimmer and redder."""
    rng = eye.rng("light")
    coarse = frame.at(COARSE)
    aside = rng.normal(0, 0.16, 2)
    radial = (coarse.x - aside[0]) ** 2 + (coarse.y - aside[1]) ** 2
    fall = rng.uniform(0.14, 0.34) * radial + 0.10 * radial**3 * rng.random()
    fall = np.maximum(fall + 0.035 * grain(rng, coarse, 0.45), 0)
    return np.stack([stretch(np.exp(-share * fall), frame.height, frame.width) for share in (0.85, 1.15, 1.2)])


def haze(eye: Eye, frame: Frame) -> np.ndarray | None:
    """The pale veil that a lid or the iris leaves at one edge of the field; None for photographs without one."""
    rng = eye.rng("haze")
    strength = max(0.0, rng.normal(-0.05, 0.17))
    angle = rng.uniform(0, 2 * np.pi)
    if not strength:
        return None
    coarse = frame.at(COARSE)
    x, y = 1.15 * np.array([np.cos(angle), np.sin(angle)])
    veil = bell((coarse.x - x) ** 2 + (coarse.y - y) ** 2, rng.uniform(0.2, 0.5))
    return stretch(strength * veil, frame.height, frame.width)


def residual(eye: Eye, frame: Frame, clean: np.ndarray) -> np.ndarray:
    """Noise of sensor and JPEG (3, height, width), computed without lesions, which it therefore cannot reveal."""
    rng = eye.rng(f"noise {frame.height}")
    shape = (frame.height, frame.width)
    shared = rng.standard_normal(shape, dtype=np.float32) * 1.9
    noisy = [plane + shared + rng.standard_normal(shape, dtype=np.float32) * 1.0 for plane in clean]
    lit = clean.max(axis=0) > 4
    image = Image.fromarray(np.stack([np.where(lit, plane, 0).clip(0, 255) for plane in noisy], -1).astype(np.uint8))
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=QUALITY)
    return np.asarray(np.moveaxis(np.asarray(Image.open(stored)), -1, 0) - clean)
