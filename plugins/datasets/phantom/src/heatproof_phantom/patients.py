"""Plans of synthetic patients: the traits that both eyes share, and the anatomy and lesions of each eye."""

from dataclasses import dataclass
from functools import cached_property
from math import erf, sqrt

import numpy as np

from heatproof.seeding import generator

from .lesions import Lesions, planned

SHARES = (0.35, 0.10, 0.25, 0.15, 0.15)
KINSHIP = 0.8


@dataclass(frozen=True)
class Traits:
    """Traits that both eyes of a patient share.

    Parameters
    ----------
    colour: numpy.ndarray
        Red, green and blue of the lit retina, 0 to 255.
    tigroid: float
        How far the choroid shines through, 0 to 1.
    macula: float
        Darkness of the macular pigment.
    wander: float
        Tortuosity of the vessels, in field radii.
    stem: float
        Radius of the widest vein, in field radii.
    disc_radius: float
        Radius of the optic disc, in field radii.
    cup: float
        Radius of the cup as a share of the disc's.
    sheen: float
        Strength of the nerve fibres' reflexes.
    severity: float
        Standard normal score of the retinopathy.
    """

    colour: np.ndarray
    tigroid: float
    macula: float
    wander: float
    stem: float
    disc_radius: float
    cup: float
    sheen: float
    severity: float


@dataclass(frozen=True)
class Eye:
    """The plan of one eye: the positions of disc and fovea in the field of view, and the lesions."""

    patient: int
    name: str
    seed: int
    traits: Traits
    disc: np.ndarray
    fovea: np.ndarray
    shift: float
    lesions: Lesions

    @property
    def mirrored(self) -> bool:
        """Whether the disc lies to the left of the fovea, as in a left eye."""
        return self.name == "left"

    @cached_property
    def grade(self) -> int:
        """Grade of the retinopathy, derived from the planned lesions."""
        return graded(self.lesions, self.fovea)

    def rng(self, key: str) -> np.random.Generator:
        """Generator of one random choice about this eye."""
        return generator(self.seed, self.patient, self.name, key)


def traits(patient: int, seed: int) -> Traits:
    """Traits of a synthetic patient."""
    rng = generator(seed, patient, "both", "traits")
    blue = 0.03 + 0.40 * rng.random() ** 3
    green = rng.uniform(0.41, 0.52) + 0.25 * max(0.0, blue - 0.1)
    return Traits(
        colour=rng.uniform(168, 232) * np.array([1.0, green, blue]),
        tigroid=rng.random() ** 1.5,
        macula=rng.uniform(0.6, 1.2),
        wander=rng.uniform(0.007, 0.015),
        stem=rng.uniform(0.0125, 0.0165),
        disc_radius=rng.uniform(0.136, 0.160),
        cup=rng.uniform(0.30, 0.62),
        sheen=rng.random() ** 2,
        severity=rng.standard_normal(),
    )


def eyes(patient: int, seed: int) -> dict[str, Eye]:
    """Plan the two eyes of a synthetic patient, by name, without drawing a pixel."""
    shared = traits(patient, seed)
    return {name: planned_eye(patient, name, seed, shared) for name in ("left", "right")}


def planned_eye(patient: int, name: str, seed: int, shared: Traits) -> Eye:
    """Plan one eye of a patient: shared traits, but its own positions and lesions."""
    rng = generator(seed, patient, name, "eye")
    fovea = np.array([rng.uniform(-0.12, 0.08), rng.uniform(-0.06, 0.10)])
    disc = fovea + np.array([rng.uniform(0.72, 0.80), rng.uniform(-0.13, 0.02)])
    shift = rng.uniform(0.455, 0.48)
    score = sqrt(KINSHIP) * shared.severity + sqrt(1 - KINSHIP) * rng.standard_normal()
    stage, load = staged(score)
    lesions = planned(generator(seed, patient, name, "lesions"), stage, load, disc, fovea)
    return Eye(patient, name, seed, shared, disc, fovea, shift, lesions)


def staged(score: float) -> tuple[int, float]:
    """Stage that a standard normal score falls into, and its relative position in that stage, 0 to 1."""
    rank = 0.5 * (1 + erf(score / sqrt(2)))
    ends = np.cumsum(SHARES)
    stage = min(int(np.searchsorted(ends, rank)), 4)
    return stage, float(np.clip((rank - ends[stage] + SHARES[stage]) / SHARES[stage], 0, 1))


def graded(lesions: Lesions, fovea: np.ndarray) -> int:
    """Grade of a lesion plan, by counts alone; quadrants are those around the fovea.

    0: no lesion. 1: microaneurysms only. 2: any haemorrhage or exudate, but less than grade 3. 3: at least two
    haemorrhages in each quadrant and at least 25 microaneurysms and haemorrhages together. 4: grade 3 with at
    least 36 haemorrhages, four in each quadrant, and at least two soft exudates. This rule imitates the
    international scale for synthetic data; it is no clinical rule.
    """
    count = lesions.count
    if not len(lesions):
        return 0
    if count("microaneurysms") == len(lesions):
        return 1
    quadrants = lesions.quadrants("haemorrhages", fovea)
    if quadrants.min() < 2 or count("microaneurysms") + count("haemorrhages") < 25:
        return 2
    severe = count("haemorrhages") >= 36 and quadrants.min() >= 4 and count("soft_exudates") >= 2
    return 3 + int(severe)
