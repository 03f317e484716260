"""Synthetic chest radiographs with gaze: lungs, heart, ribs, opacities, and the fixations of readers."""

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
RATIOS = {"Normal": (0.38, 0.47), "CHF": (0.54, 0.65), "pneumonia": (0.38, 0.47)}
"""Lowest and highest cardiothoracic ratio of each class."""
ENLARGED = 0.5
"""A heart is enlarged if its cardiothoracic ratio is above this."""
GAZE = SIGMA / 3056
NOISE = (55, 66)
ZONES = ((0, -0.5), (0, 0.0), (0, 0.45), (1, -0.5), (1, 0.0), (1, 0.45))
"""Lung and height within it, in half axes below its centre, of each zone that may hold an opacity."""
DETAIL = {"noise": 0.015, "grain": 0.006, "rib": 0.05, "spine": 0.16, "lung": -0.36, "heart": 0.3, "opacity": 0.24}
"""Brightness, of 0 to 1, that each structure adds to a body of even thickness."""


@dataclass(frozen=True)
class Ellipse:
    """An upright ellipse by its centre and half axes."""

    row: float
    column: float
    height: float
    width: float

    def depth(self, rows: Array, columns: Array) -> Array:
        """Depth of each point inside the ellipse: 1 at the centre, 0 on the border, negative outside."""
        return np.asarray(1 - np.hypot((rows - self.row) / self.height, (columns - self.column) / self.width))


@dataclass(frozen=True)
class Chest:
    """One planned radiograph: the lungs (the right one first, at the left of the image), the heart, the opacities."""

    patient: int
    study: str
    seed: int
    lungs: tuple[Ellipse, Ellipse]
    heart: Ellipse
    opacities: tuple[Ellipse, ...]

    @cached_property
    def ratio(self) -> float:
        """The cardiothoracic ratio: the width of the heart over the inner width of the chest."""
        right, left = self.lungs
        return 2 * self.heart.width / (left.column + left.width - right.column + right.width)

    @cached_property
    def label(self) -> int:
        """The class that follows from the plan: an enlarged heart is CHF, else opacities are pneumonia, else normal."""
        if self.ratio > ENLARGED:
            return 1
        return 2 if self.opacities else 0

    def rng(self, *key: str) -> np.random.Generator:
        """Generator of one random choice about this radiograph."""
        return generator(self.seed, self.patient, self.study, "chest", *key)

    def positions(self) -> Array:
        """Positions (n, 2) that readers look at: lungs, hila, both angles, the heart, and each opacity five times."""
        positions = []
        for lung in self.lungs:
            for down, right in ((-0.55, 0.0), (0.0, -0.25), (0.5, 0.2), (0.85, 0.35)):
                positions.append((lung.row + down * lung.height, lung.column + right * lung.width))
        positions.append((self.heart.row, self.heart.column))
        for opacity in self.opacities:
            positions += [(opacity.row, opacity.column)] * 5
        return np.array(positions)


def planned(patient: int, study: str, seed: int) -> Chest:
    """Plan the radiograph of one study of a patient, whose build and illness are the same in every study."""
    shared = generator(seed, patient, "chest")
    width = shared.uniform(0.115, 0.14)
    height = shared.uniform(0.28, 0.32)
    illness = CLASSES[int(np.searchsorted(np.cumsum(SHARES), shared.random()))]
    rng = generator(seed, patient, study, "chest", "plan")
    row = rng.uniform(0.43, 0.47)
    gap = rng.uniform(0.16, 0.18)
    lungs = (Ellipse(row, -gap, height, width), Ellipse(row, gap, height, width))
    lowest, highest = RATIOS[illness]
    ratio = rng.uniform(lowest, highest)
    heart = Ellipse(row + 0.45 * height, 0.03, 0.15, ratio * (gap + width))
    zones = np.array([], int)
    if illness == "pneumonia":
        zones = rng.permutation(len(ZONES))[: rng.integers(1, 5)]
    opacities = tuple(_opacity(rng, lungs, *ZONES[zone]) for zone in zones)
    return Chest(patient, study, seed, lungs, heart, opacities)


def _opacity(rng: np.random.Generator, lungs: tuple[Ellipse, Ellipse], side: int, down: float) -> Ellipse:
    """Plan an opacity in one zone of a lung; it touches no opacity of another zone."""
    lung = lungs[side]
    outwards = 2 * side - 1
    row = lung.row + (down + rng.uniform(-0.05, 0.05)) * lung.height
    column = lung.column + outwards * rng.uniform(0.0, 0.3) * lung.width
    return Ellipse(row, column, rng.uniform(0.025, 0.05), rng.uniform(0.02, 0.04))


def draw(patient: int, study: str, seed: int, height: int) -> Sample:
    """Draw a radiograph (1, height, width) uint16 with exact masks and the gaze of three readers; its id is empty."""
    chest = planned(patient, study, seed)
    rows, columns = _axes(height)
    shape = (len(rows), columns.shape[1])
    gaze = {reader: fixations(chest, reader) * (height, height, 1) + (0, shape[1] / 2, 0) for reader in READERS}
    frames = {reader: counted(points[:, :2], shape, GAZE * height) for reader, points in gaze.items()}
    densities = [
        Annotation("gaze", frame.total().astype(np.float32), "density", reader) for reader, frame in frames.items()
    ]
    structures = [Annotation(finding, mask, reader="phantom") for finding, mask in masks(chest, rows, columns).items()]
    return Sample(
        id="",
        image=radiograph(chest, height),
        annotations=(*structures, *densities),
        label=chest.label,
        extras={
            "fixations": np.concatenate(list(gaze.values())),
            "fixation_readers": np.repeat(list(gaze), [len(points) for points in gaze.values()]),
            "gaze_frames": joined(list(frames.values()), shape),
        },
    )


def radiograph(chest: Chest, height: int, suppressed: bool = False) -> Array:
    """The image (1, height, width) uint16, in which bone is bright; ``suppressed`` omits the opacities."""
    rows, columns = _axes(height)
    values = 0.5 + DETAIL["spine"] * np.exp(-((columns / 0.03) ** 2)) + _ribs(chest, rows, columns)
    for lung in chest.lungs:
        values = values + DETAIL["lung"] * _soft(lung.depth(rows, columns), 0.3)
    values += DETAIL["heart"] * _soft(chest.heart.depth(rows, columns), 0.12)
    if not suppressed:
        for opacity in chest.opacities:
            values += DETAIL["opacity"] * _soft(opacity.depth(rows, columns), 0.4)
    coarse = ndimage.gaussian_filter(chest.rng("noise").standard_normal(NOISE), 1.0)
    scale = (values.shape[0] / NOISE[0], values.shape[1] / NOISE[1])
    values += DETAIL["noise"] * ndimage.zoom(coarse, scale, order=1, grid_mode=True, mode="nearest")
    values += DETAIL["grain"] * chest.rng("grain", str(height)).standard_normal(values.shape)
    return np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)[None]


def masks(chest: Chest, rows: Array, columns: Array) -> dict[str, Array]:
    """Mask (height, width) bool of every finding but gaze, all False where absent."""
    heart = chest.heart.depth(rows, columns) >= 0
    right, left = (lung.depth(rows, columns) >= 0 for lung in chest.lungs)
    opacity = np.zeros_like(heart)
    for ellipse in chest.opacities:
        # An opacity adds nothing to the image on its border, so the border does not count.
        opacity |= ellipse.depth(rows, columns) > 0
    return {
        "consolidation": opacity,
        "enlarged_cardiac_silhouette": heart & (chest.ratio > ENLARGED),
        "cardiac_silhouette": heart,
        "right_lung": right & ~heart,
        "left_lung": left & ~heart,
    }


def fixations(chest: Chest, reader: str) -> Array:
    """Row, column and seconds of a reader's fixations in order (n, 3), at least one near every position."""
    rng = chest.rng("gaze", reader)
    positions = chest.positions()
    first = rng.permutation(len(positions))
    again = rng.integers(0, len(positions), rng.integers(4, 12))
    order = np.concatenate([first, again])
    points = positions[order] + 0.012 * rng.standard_normal((len(order), 2))
    inside = np.clip(points, (0.01, 0.01 - ASPECT / 2), (0.99, ASPECT / 2 - 0.01))
    return np.column_stack([inside, rng.gamma(3.0, 0.1, len(order)).round(3) + 0.06])


def _axes(height: int) -> tuple[Array, Array]:
    """The rows (height, 1) and columns (1, width) of the centres of the pixels."""
    width = round(height * ASPECT)
    rows = (np.arange(height) + 0.5) / height
    return rows[:, None], ((np.arange(width) + 0.5 - width / 2) / height)[None, :]


def _soft(depth: Array, edge: float) -> Array:
    """A smooth step: 0 on the border and outside, 1 from the depth ``edge`` on."""
    share = np.clip(depth / edge, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def _ribs(chest: Chest, rows: Array, columns: Array) -> Array:
    """Brightness of ten pairs of ribs that slope down outwards within the chest."""
    right, left = chest.lungs
    cage = Ellipse(right.row, 0.0, 1.15 * right.height, left.column + 1.1 * left.width)
    phase = (rows - 0.9 * np.abs(columns) ** 1.5 - right.row + right.height) / (2 * right.height) * 10
    arches = np.exp(-(((phase - np.rint(phase)) / 0.16) ** 2))
    return np.asarray(DETAIL["rib"] * arches * (cage.depth(rows, columns) > 0))
