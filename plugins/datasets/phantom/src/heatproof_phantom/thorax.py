"""Synthetic CT scans of the chest: lungs with vessels, nodules, and four readers who outline and rate them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from heatproof.errors import DataError
from heatproof.records import Annotation, Array, Geometry, Sample
from heatproof.seeding import generator

WINDOW = (-1000.0, 400.0)
"""The Hounsfield units that are 0 and 65535 in the image."""

WIDTH = 320.0
"""The width of the field in mm, whatever the number of voxels."""

READERS = ("reader1", "reader2", "reader3", "reader4")
EXTRAS = ("ratings", "small", "origin")
SMALLEST = 48
LUNGS = ((0.5, 0.29), (0.5, 0.71))
"""The rows and columns of their centres, as shares."""

SITES = tuple((depth, lung) for lung in LUNGS for depth in (0.2, 0.5, 0.8))
"""Where nodules may be: too far from each other to touch."""

SHARES = (0.2, 0.3, 0.3, 0.2)
TRAITS = {
    "subtlety": (1, 5), "internalStructure": (1, 1), "calcification": (6, 6), "sphericity": (5, 2), "margin": (5, 2),
    "lobulation": (1, 4), "spiculation": (1, 5), "texture": (5, 4), "malignancy": (1, 5),
}  # fmt: skip
"""What a harmless and a suspicious nodule is rated, on the scales of LIDC-IDRI."""


@dataclass(frozen=True)
class Nodule:
    """One nodule: its centre and radii in voxels, and how suspicious it is, 0 to 1."""

    centre: Array
    radii: Array
    suspicion: float


@dataclass(frozen=True)
class Seen:
    """What one reader outlines of one nodule, and how he rates it."""

    mask: Array
    ratings: Mapping[str, int]


def thorax(patient: int, seed: int, size: int) -> Sample:
    """One scan (1, size // 2, size, size) uint16 from foot to head, with 0 to 3 nodules; no voxel is of a person.

    Every reader annotates ``nodule``. ``extras["ratings"]`` holds each reader's box and ratings of each nodule he sees,
    as the dataset ``lidc`` gives them. Nodules are larger than in life, so that few voxels show them.
    """
    if size < SMALLEST:
        raise DataError(f"a thorax of {size} voxels shows no nodule; give at least {SMALLEST}.")
    shape = (size // 2, size, size)
    nodules = tuple(_planned(patient, seed, shape))
    units = _chest(generator(seed, patient, "thorax", "chest"), shape)
    for nodule in nodules:
        units = np.maximum(units, 60 - 900 * np.clip(_distance(shape, nodule) - 0.8, 0, 1))
    masks = {reader: np.zeros(shape, dtype=bool) for reader in READERS}
    ratings = []
    for number, nodule in enumerate(nodules, 1):
        for reader, seen in _seen(generator(seed, patient, "thorax", f"readers {number}"), shape, nodule).items():
            masks[reader] |= seen.mask
            ratings.append({"nodule": number, "reader": reader, "box": _box(seen.mask), **seen.ratings})
    id, step = f"synthetic_{patient:05d}", WIDTH / size
    return Sample(
        id,
        _scanned(generator(seed, patient, "thorax", "noise"), units),
        tuple(Annotation("nodule", mask, reader=reader, source="phantom") for reader, mask in masks.items()),
        patient=f"{patient:05d}",
        geometry=Geometry(np.eye(4), shape, f"phantom seed {seed} {id}", (step, step, step), "SPL"),
        extras={"ratings": tuple(ratings), "small": (), "origin": (0, 0, 0)},
    )


def _planned(patient: int, seed: int, shape: tuple[int, ...]) -> Iterator[Nodule]:
    """The nodules of a patient, each at another site of the lungs."""
    chance = generator(seed, patient, "thorax", "nodules")
    count = int(chance.choice(len(SHARES), p=SHARES))
    for site in chance.choice(len(SITES), size=count, replace=False):
        depth, (row, column) = SITES[site]
        place = np.array([depth, row + chance.uniform(-0.12, 0.12), column]) * shape
        suspicion = float(chance.random())
        radius = (0.03 + 0.012 * suspicion) * shape[1]
        yield Nodule(place + chance.uniform(-0.5, 0.5, 3), radius * chance.uniform(0.85, 1.15, 3), suspicion)


def _seen(chance: np.random.Generator, shape: tuple[int, ...], nodule: Nodule) -> Mapping[str, Seen]:
    """The nodule as each reader sees it; whoever misses it is not among them, and at least one sees it."""
    found = chance.random(len(READERS)) < 0.75 + 0.25 * nodule.suspicion
    found[chance.integers(len(READERS))] = True
    readings = {}
    for reader, sees in zip(READERS, found):
        shift, scale = chance.uniform(-0.4, 0.4, 3), chance.uniform(0.85, 1.15)
        own = Nodule(nodule.centre + shift, nodule.radii * scale, nodule.suspicion + chance.normal(0, 0.12))
        if sees:
            readings[reader] = Seen(_distance(shape, own) <= 1, _rated(own.suspicion))
    return readings


def _rated(suspicion: float) -> Mapping[str, int]:
    """The ratings that go with a suspicion."""
    share = min(max(suspicion, 0.0), 1.0)
    return {name: round(harmless + share * (grave - harmless)) for name, (harmless, grave) in TRAITS.items()}


def _distance(shape: tuple[int, ...], nodule: Nodule) -> Array:
    """How far every voxel's centre lies from the nodule's, 1 on its surface."""
    axes = [
        ((np.arange(length) + 0.5 - place) / radius) ** 2
        for length, place, radius in zip(shape, nodule.centre, nodule.radii)
    ]
    return np.asarray(np.sqrt(axes[0][:, None, None] + axes[1][:, None] + axes[2]))


def _chest(chance: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Body, lungs and their vessels, in Hounsfield units."""
    depth, rows, columns = np.ix_(*((np.arange(length) + 0.5) / length for length in shape))
    body = ((rows - 0.5) / 0.36) ** 2 + ((columns - 0.5) / 0.46) ** 2 <= 1
    lungs = np.zeros(shape, dtype=bool)
    for row, column in LUNGS:
        reach = ((rows - row) / 0.25) ** 2 + ((columns - column) / 0.16) ** 2
        lungs |= reach <= (1 - 0.3 * np.abs(depth - 0.5)) ** 2
    vessels = ndimage.gaussian_filter(chance.standard_normal(shape), 1.2)
    airy = np.where(vessels > 2.4 * vessels.std(), -250.0, -850.0)
    return np.where(lungs, airy, np.where(body, 40.0, -1000.0))


def _scanned(chance: np.random.Generator, units: Array) -> Array:
    """The image (1, *space) uint16: blurred by the scanner, with its noise, by the window."""
    low, high = WINDOW
    noisy = ndimage.gaussian_filter(units, 0.4) + 20 * chance.standard_normal(units.shape)
    return np.asarray(np.rint(np.clip((noisy - low) / (high - low), 0, 1) * 65535).astype(np.uint16))[None]


def _box(mask: Array) -> tuple[tuple[int, int], ...]:
    """The smallest box that holds a mask, (start, stop) by axis."""
    places = np.argwhere(mask)
    return tuple(zip(places.min(axis=0).tolist(), (places.max(axis=0) + 1).tolist()))
