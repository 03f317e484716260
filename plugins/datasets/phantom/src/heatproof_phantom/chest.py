"""Synthetic chest radiographs with gaze: lungs, heart, ribs, opacities, and where readers looked."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from heatproof.records import Annotation, Array, Sample
from heatproof.seeding import generator
from heatproof_eyetracking.gaze import SIGMA, counted, joined

# All lengths are in heights of the image, rows from its upper edge, columns from its midline.
ASPECT = 2544 / 3056
CLASSES = ("Normal", "CHF", "pneumonia")
LESIONS = ("consolidation", "enlarged_cardiac_silhouette")
ANATOMY = ("cardiac_silhouette", "right_lung", "left_lung")
FINDINGS = (*LESIONS, *ANATOMY, "gaze")
EXTRAS = ("fixations", "fixation_readers", "gaze_frames")
STUDIES = ("first", "second")
READERS = ("reader_1", "reader_2", "reader_3")
SHARES = (0.34, 0.33, 0.33)
ENLARGED = 0.5
"""From this cardiothoracic ratio on a heart is enlarged."""
GAZE = SIGMA / 3056
NOISE = (55, 66)
ZONES = tuple((side, place) for side in (0, 1) for place in (-0.5, 0.0, 0.45))
DETAIL = {"noise": 0.015, "grain": 0.006, "rib": 0.05, "spine": 0.16, "lung": -0.36, "heart": 0.3, "opacity": 0.24}
"""What each structure adds to the brightness, 0 to 1, of a body of even thickness."""


@dataclass(frozen=True)
class Ellipse:
    """An upright ellipse by its centre and half axes."""

    row: float
    column: float
    height: float
    width: float

    def depth(self, rows: Array, columns: Array) -> Array:
        """How deep places lie inside, 1 at the centre, 0 on the border, negative outside."""
        return np.asarray(1 - np.hypot((rows - self.row) / self.height, (columns - self.column) / self.width))


@dataclass(frozen=True)
class Chest:
    """One planned radiograph: the right and the left lung (which lies to the right), the heart and the opacities."""

    patient: int
    study: str
    seed: int
    lungs: tuple[Ellipse, Ellipse]
    heart: Ellipse
    opacities: tuple[Ellipse, ...]

    @cached_property
    def ratio(self) -> float:
        """The cardiothoracic ratio: the width of the heart over that of the chest inside."""
        right, left = self.lungs
        return 2 * self.heart.width / (left.column + left.width - right.column + right.width)

    @cached_property
    def label(self) -> int:
        """The class that follows from what is drawn: an enlarged heart, else opacities, else normal."""
        return 1 if self.ratio > ENLARGED else 2 if self.opacities else 0

    def chance(self, *what: str) -> np.random.Generator:
        """Generator of one random choice about this radiograph."""
        return generator(self.seed, self.patient, self.study, "chest", *what)

    def places(self) -> Array:
        """Where readers look (n, 2): lungs high and low, hila, both angles, the heart; opacities five times each."""
        sides = [
            (lung.row + high * lung.height, lung.column + wide * lung.width)
            for lung in self.lungs
            for high, wide in ((-0.55, 0.0), (0.0, -0.25), (0.5, 0.2), (0.85, 0.35))
        ]
        seen = [(mark.row, mark.column) for mark in self.opacities for _ in range(5)]
        return np.array([*sides, (self.heart.row, self.heart.column), *seen])


def planned(patient: int, study: str, seed: int) -> Chest:
    """The radiograph of one study of a patient, known before a pixel is drawn; the patient keeps build and illness."""
    shared = generator(seed, patient, "chest")
    width, height = shared.uniform(0.115, 0.14), shared.uniform(0.28, 0.32)
    ill = int(np.searchsorted(np.cumsum(SHARES), shared.random()))
    chance = generator(seed, patient, study, "chest", "plan")
    row, gap = chance.uniform(0.43, 0.47), chance.uniform(0.16, 0.18)
    lungs = (Ellipse(row, -gap, height, width), Ellipse(row, gap, height, width))
    ratio = chance.uniform(0.54, 0.65) if ill == 1 else chance.uniform(0.38, 0.47)
    heart = Ellipse(row + 0.45 * height, 0.03, 0.15, ratio * (gap + width))
    places = chance.permutation(len(ZONES))[: chance.integers(1, 5)] if ill == 2 else ()
    opacities = tuple(_opacity(chance, lungs, *ZONES[place]) for place in places)
    return Chest(patient, study, seed, lungs, heart, opacities)


def _opacity(chance: np.random.Generator, lungs: tuple[Ellipse, Ellipse], side: int, place: float) -> Ellipse:
    """An opacity of one zone of a lung, within it and apart from those of other zones."""
    lung, outwards = lungs[side], 2 * side - 1
    row = lung.row + (place + chance.uniform(-0.05, 0.05)) * lung.height
    column = lung.column + outwards * chance.uniform(0.0, 0.3) * lung.width
    return Ellipse(row, column, chance.uniform(0.025, 0.05), chance.uniform(0.02, 0.04))


def draw(patient: int, study: str, seed: int, height: int) -> Sample:
    """The radiograph (1, height, width) uint16 of a study, with exact masks and three readers' gaze; no id yet."""
    chest = planned(patient, study, seed)
    rows, columns = _axes(height)
    shape = (len(rows), columns.shape[1])
    gaze = {reader: fixations(chest, reader) * (height, height, 1) + (0, shape[1] / 2, 0) for reader in READERS}
    frames = {reader: counted(points[:, :2], shape, GAZE * height) for reader, points in gaze.items()}
    densities = [
        Annotation("gaze", each.total().astype(np.float32), "density", reader) for reader, each in frames.items()
    ]
    marks = [Annotation(finding, mask, reader="phantom") for finding, mask in masks(chest, rows, columns).items()]
    return Sample(
        id="",
        image=radiograph(chest, height),
        annotations=(*marks, *densities),
        label=chest.label,
        extras={
            "fixations": np.concatenate(list(gaze.values())),
            "fixation_readers": np.repeat(list(gaze), [len(points) for points in gaze.values()]),
            "gaze_frames": joined(list(frames.values()), shape),
        },
    )


def radiograph(chest: Chest, height: int, suppressed: bool = False) -> Array:
    """The image (1, height, width) uint16, bone being bright; ``suppressed`` leaves the opacities out."""
    rows, columns = _axes(height)
    values = 0.5 + DETAIL["spine"] * np.exp(-((columns / 0.03) ** 2)) + _ribs(chest, rows, columns)
    for lung in chest.lungs:
        values = values + DETAIL["lung"] * _soft(lung.depth(rows, columns), 0.3)
    values += DETAIL["heart"] * _soft(chest.heart.depth(rows, columns), 0.12)
    for opacity in () if suppressed else chest.opacities:
        values += DETAIL["opacity"] * _soft(opacity.depth(rows, columns), 0.4)
    coarse = ndimage.gaussian_filter(chest.chance("noise").standard_normal(NOISE), 1.0)
    scale = (values.shape[0] / NOISE[0], values.shape[1] / NOISE[1])
    values += DETAIL["noise"] * ndimage.zoom(coarse, scale, order=1, grid_mode=True, mode="nearest")
    values += DETAIL["grain"] * chest.chance("grain", str(height)).standard_normal(values.shape)
    return np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)[None]


def masks(chest: Chest, rows: Array, columns: Array) -> dict[str, Array]:
    """Finding → mask (height, width) bool, all False where absent."""
    heart = chest.heart.depth(rows, columns) >= 0
    right, left = (lung.depth(rows, columns) >= 0 for lung in chest.lungs)
    opacity = np.zeros_like(heart)
    for each in chest.opacities:
        # Exactly where it adds to the image: on its border it adds nothing.
        opacity |= each.depth(rows, columns) > 0
    found = (opacity, heart & (chest.ratio > ENLARGED), heart, right & ~heart, left & ~heart)
    return dict(zip((*LESIONS, *ANATOMY), found))


def fixations(chest: Chest, reader: str) -> Array:
    """Where a reader looked, in order, and for how many seconds (n, 3): every place once or more, near it."""
    chance, places = chest.chance("gaze", reader), chest.places()
    order = np.concatenate([chance.permutation(len(places)), chance.integers(0, len(places), chance.integers(4, 12))])
    points = places[order] + 0.012 * chance.standard_normal((len(order), 2))
    inside = np.clip(points, (0.01, 0.01 - ASPECT / 2), (0.99, ASPECT / 2 - 0.01))
    return np.column_stack([inside, chance.gamma(3.0, 0.1, len(order)).round(3) + 0.06])


def _axes(height: int) -> tuple[Array, Array]:
    """The rows (height, 1) and columns (1, width) of the pixels' centres."""
    width = round(height * ASPECT)
    rows = (np.arange(height) + 0.5) / height
    return rows[:, None], ((np.arange(width) + 0.5 - width / 2) / height)[None, :]


def _soft(depth: Array, edge: float) -> Array:
    """From 0 on the border, and outside, to 1 at ``edge`` deep and deeper, smoothly."""
    share = np.clip(depth / edge, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def _ribs(chest: Chest, rows: Array, columns: Array) -> Array:
    """Ten pairs of ribs that fall off outwards, within the chest."""
    right, left = chest.lungs
    cage = Ellipse(right.row, 0.0, 1.15 * right.height, left.column + 1.1 * left.width)
    phase = (rows - 0.9 * np.abs(columns) ** 1.5 - right.row + right.height) / (2 * right.height) * 10
    arches = np.exp(-(((phase - np.rint(phase)) / 0.16) ** 2))
    return np.asarray(DETAIL["rib"] * arches * (cage.depth(rows, columns) > 0))
