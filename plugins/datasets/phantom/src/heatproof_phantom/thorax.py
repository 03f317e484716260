"""Synthetic CT scans of the chest: lungs with vessels, and nodules that four readers outline and rate."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from heatproof.errors import DataError
from heatproof.records import Annotation, Array, Geometry, Sample
from heatproof.seeding import generator

WINDOW = (-1000.0, 400.0)
"""The Hounsfield units that become 0 and 65535 in the image."""

WIDTH = 320.0
"""The width of the scan in mm, at every number of voxels."""

READERS = ("reader1", "reader2", "reader3", "reader4")
EXTRAS = ("ratings", "small", "origin")
SMALLEST = 48
LUNGS = ((0.5, 0.29), (0.5, 0.71))
"""Row and column of the centre of each lung, as shares of the height and the width."""

SITES = tuple((depth, lung) for lung in LUNGS for depth in (0.2, 0.5, 0.8))
"""Depth, row and column at which nodules may lie: too far apart to touch."""

SHARES = (0.2, 0.3, 0.3, 0.2)
TRAITS = {
    "subtlety": (1, 5), "internalStructure": (1, 1), "calcification": (6, 6), "sphericity": (5, 2), "margin": (5, 2),
    "lobulation": (1, 4), "spiculation": (1, 5), "texture": (5, 4), "malignancy": (1, 5),
}  # fmt: skip
"""Ratings of a harmless and of a suspicious nodule, on the scales of LIDC-IDRI."""


@dataclass(frozen=True)
class Nodule:
    """One nodule: centre and radii in voxels, and suspicion from 0 to 1."""

    centre: Array
    radii: Array
    suspicion: float


@dataclass(frozen=True)
class Reading:
    """The mask and the ratings that one reader gives to one nodule."""

    mask: Array
    ratings: Mapping[str, int]


def thorax(patient: int, seed: int, size: int) -> Sample:
    """Draw a scan (1, size // 2, size, size) uint16 from foot to head, with 0 to 3 nodules; no voxel is of a person.

    Every reader annotates ``nodule``. ``extras["ratings"]`` holds the box and the ratings of each nodule by each reader
    who noticed it, in the format of the dataset ``lidc``. Nodules are larger than in life, because voxels are, too.
    """
    if size < SMALLEST:
        raise DataError(f"a thorax of {size} voxels shows no nodule; give at least {SMALLEST}.")
    shape = (size // 2, size, size)
    nodules = tuple(_nodules(patient, seed, shape))
    units = _chest(generator(seed, patient, "thorax", "chest"), shape)
    for nodule in nodules:
        units = np.maximum(units, 60 - 900 * np.clip(_distance(shape, nodule) - 0.8, 0, 1))
    masks = {reader: np.zeros(shape, dtype=bool) for reader in READERS}
    ratings = []
    for number, nodule in enumerate(nodules, 1):
        readings = _readings(generator(seed, patient, "thorax", f"readers {number}"), shape, nodule)
        for reader, reading in readings.items():
            masks[reader] |= reading.mask
            ratings.append({"nodule": number, "reader": reader, "box": _box(reading.mask), **reading.ratings})
    id = f"synthetic_{patient:05d}"
    step = WIDTH / size
    return Sample(
        id,
        _scanned(generator(seed, patient, "thorax", "noise"), units),
        tuple(Annotation("nodule", mask, reader=reader, source="phantom") for reader, mask in masks.items()),
        patient=f"{patient:05d}",
        geometry=Geometry(np.eye(4), shape, f"phantom seed {seed} {id}", (step, step, step), "SPL"),
        extras={"ratings": tuple(ratings), "small": (), "origin": (0, 0, 0)},
    )


def _nodules(patient: int, seed: int, shape: tuple[int, ...]) -> Iterator[Nodule]:
    """Plan the nodules of a patient, at different sites of the lungs."""
    rng = generator(seed, patient, "thorax", "nodules")
    count = int(rng.choice(len(SHARES), p=SHARES))
    for site in rng.choice(len(SITES), size=count, replace=False):
        depth, (row, column) = SITES[site]
        centre = np.array([depth, row + rng.uniform(-0.12, 0.12), column]) * shape
        suspicion = float(rng.random())
        radius = (0.03 + 0.012 * suspicion) * shape[1]
        yield Nodule(centre + rng.uniform(-0.5, 0.5, 3), radius * rng.uniform(0.85, 1.15, 3), suspicion)


def _readings(rng: np.random.Generator, shape: tuple[int, ...], nodule: Nodule) -> Mapping[str, Reading]:
    """Draw the readings of a nodule by reader; some readers may miss it, but not all."""
    noticed = rng.random(len(READERS)) < 0.75 + 0.25 * nodule.suspicion
    noticed[rng.integers(len(READERS))] = True
    readings = {}
    for reader, notices in zip(READERS, noticed):
        shift = rng.uniform(-0.4, 0.4, 3)
        scale = rng.uniform(0.85, 1.15)
        outlined = Nodule(nodule.centre + shift, nodule.radii * scale, nodule.suspicion + rng.normal(0, 0.12))
        if notices:
            readings[reader] = Reading(_distance(shape, outlined) <= 1, _ratings(outlined.suspicion))
    return readings


def _ratings(suspicion: float) -> Mapping[str, int]:
    """The ratings of a nodule by its suspicion."""
    share = min(max(suspicion, 0.0), 1.0)
    return {name: round(harmless + share * (grave - harmless)) for name, (harmless, grave) in TRAITS.items()}


def _distance(shape: tuple[int, ...], nodule: Nodule) -> Array:
    """Distance of every voxel from the centre of a nodule, in its radii: 1 on its surface."""
    axes = [
        ((np.arange(length) + 0.5 - centre) / radius) ** 2
        for length, centre, radius in zip(shape, nodule.centre, nodule.radii)
    ]
    return np.asarray(np.sqrt(axes[0][:, None, None] + axes[1][:, None] + axes[2]))


def _chest(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Body, lungs and their vessels, in Hounsfield units."""
    depth, rows, columns = np.ix_(*((np.arange(length) + 0.5) / length for length in shape))
    body = ((rows - 0.5) / 0.36) ** 2 + ((columns - 0.5) / 0.46) ** 2 <= 1
    lungs = np.zeros(shape, dtype=bool)
    for row, column in LUNGS:
        reach = ((rows - row) / 0.25) ** 2 + ((columns - column) / 0.16) ** 2
        lungs |= reach <= (1 - 0.3 * np.abs(depth - 0.5)) ** 2
    vessels = ndimage.gaussian_filter(rng.standard_normal(shape), 1.2)
    airy = np.where(vessels > 2.4 * vessels.std(), -250.0, -850.0)
    return np.where(lungs, airy, np.where(body, 40.0, -1000.0))


def _scanned(rng: np.random.Generator, units: Array) -> Array:
    """The image (1, *space) uint16: units with the blur and the noise of a scanner, scaled by ``WINDOW``."""
    low, high = WINDOW
    noisy = ndimage.gaussian_filter(units, 0.4) + 20 * rng.standard_normal(units.shape)
    return np.asarray(np.rint(np.clip((noisy - low) / (high - low), 0, 1) * 65535).astype(np.uint16))[None]


def _box(mask: Array) -> tuple[tuple[int, int], ...]:
    """The smallest box around a mask, (start, stop) by axis."""
    voxels = np.argwhere(mask)
    return tuple(zip(voxels.min(axis=0).tolist(), (voxels.max(axis=0) + 1).tolist()))
