"""Opacity of lesions: the share of a pixel's light that a lesion replaces, and the exact masks that follow from it."""

import numpy as np

from .frame import Frame
from .lesions import FINDINGS, FLAME, FLUFFY, WAVES, Lesions
from .texture import step

LEVEL = 0.10
SOFTNESS = 0.0028
ROUGHNESS = {"microaneurysms": 0.06, "haemorrhages": 0.16, "hard_exudates": 0.15, "soft_exudates": 0.15}
# Edge as a share of the radius, at least the softness of the camera.
EDGE = {"microaneurysms": 0.30, "haemorrhages": 0.38, "hard_exudates": 0.42, "soft_exudates": 0.75}


def opacities(frame: Frame, lesions: Lesions, field: np.ndarray) -> dict[str, np.ndarray]:
    """Opacity of every finding, (height, width) from 0 to 1; opacity below ``LEVEL`` becomes exactly 0."""
    planes = {finding: np.zeros((frame.height, frame.width), np.float32) for finding in FINDINGS}
    for number in range(len(lesions)):
        x, y = lesions.centre[number]
        reach = 1.7 * lesions.radius[number] * lesions.stretch[number] ** 0.5 + 0.004
        rows, columns = frame.window(x, y, reach)
        finding = FINDINGS[lesions.finding[number]]
        across = frame.x[:, columns] - x
        down = frame.y[rows] - y
        part = planes[finding][rows, columns]
        part += (1 - part) * spot(frame, lesions, number, finding, across, down)
    return {finding: np.where((plane >= LEVEL) & field, plane, 0) for finding, plane in planes.items()}


def spot(frame: Frame, lesions: Lesions, number: int, finding: str, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Opacity of one lesion at the given offsets from its centre."""
    cosine = np.cos(lesions.angle[number])
    sine = np.sin(lesions.angle[number])
    ratio = lesions.stretch[number] ** 0.5
    radius = lesions.radius[number]
    waves = lesions.waves[number]
    along = (across * cosine + down * sine) / ratio
    aside = (down * cosine - across * sine) * ratio
    outline = radius * (1 + ROUGHNESS[finding] * ripple(np.arctan2(aside, along), waves))
    distance = np.hypot(along, aside)
    if lesions.form[number] == FLAME:
        outline = outline * (1 + 0.13 * np.sin(6 * aside / radius + waves[0]) * np.minimum(1, (along / radius) ** 2))
    edge = max(EDGE[finding] * radius, SOFTNESS, 0.5 / frame.radius)
    depth = lesions.density[number] * step(outline - distance, edge)
    if lesions.form[number] == FLUFFY:
        depth = depth * (1 + 0.18 * np.sin(3.2 * along / radius + waves[1]) * np.sin(2.6 * aside / radius + waves[2]))
    return np.asarray(np.minimum(depth, 1))


def ripple(angle: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """Irregularity of an outline: a sum of waves around it, of which the faster are the weaker."""
    return np.asarray(sum(np.cos((order + 2) * angle + waves[order]) / (order + 1) for order in range(WAVES)))


def visible(planes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mask of every finding: True where at least ``LEVEL`` of its opacity shows under those painted after it."""
    masks: dict[str, np.ndarray] = {}
    clear: np.ndarray | float = 1.0
    for finding in reversed(FINDINGS):
        masks[finding] = planes[finding] * clear >= LEVEL
        clear = clear * (1 - planes[finding])
    return masks
