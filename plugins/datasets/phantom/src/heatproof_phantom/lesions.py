"""Lesions of the synthetic retina, planned: how many of each finding, where, how large and of which form.

Of the lesion pixels of the first 200 diseased eyes of seed 0 at height 356, microaneurysms hold 3 %, haemorrhages
40 %, hard exudates 45 % and soft exudates 11 %; in IDRiD they hold 1, 47, 44 and 8 %. A smaller population is
measured, and the shares printed, by ``pytest plugins/datasets/phantom/tests/test_drawing.py -k shares -s``.
"""

from dataclasses import dataclass, fields

import numpy as np

FINDINGS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
ROUNDED, FLAME, FLUFFY = 0, 1, 2
WAVES = 6


@dataclass(frozen=True)
class Lesions:
    """A plan of lesions, one row each: plain columns, so that a plan is cheap to make, to count and to draw.

    Parameters
    ----------
    finding: numpy.ndarray
        Number of the finding in ``FINDINGS``.
    place: numpy.ndarray
        Centre in the scene, shape (n, 2).
    radius: numpy.ndarray
        Mean radius in field radii.
    form: numpy.ndarray
        ``ROUNDED``, ``FLAME`` or ``FLUFFY``.
    stretch: numpy.ndarray
        Length over breadth.
    angle: numpy.ndarray
        Direction of the length.
    density: numpy.ndarray
        Opacity at the centre.
    waves: numpy.ndarray
        Phases of the outline's irregularity, shape (n, WAVES).
    """

    finding: np.ndarray
    place: np.ndarray
    radius: np.ndarray
    form: np.ndarray
    stretch: np.ndarray
    angle: np.ndarray
    density: np.ndarray
    waves: np.ndarray

    def __len__(self) -> int:
        return len(self.finding)

    def count(self, finding: str) -> int:
        """Number of lesions of one finding."""
        return int((self.finding == FINDINGS.index(finding)).sum())

    def quadrants(self, finding: str, centre: np.ndarray) -> np.ndarray:
        """Numbers of lesions of one finding in the four quadrants around ``centre``."""
        return np.bincount(quadrant(self.place[self.finding == FINDINGS.index(finding)], centre), minlength=4)


def quadrant(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Quadrant, 0 to 3, of every point around ``centre``."""
    return np.asarray(2 * (points[:, 0] > centre[0]) + (points[:, 1] > centre[1]))


def joined(parts: list[Lesions]) -> Lesions:
    """One plan made of several."""
    return Lesions(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Lesions)))


def planned(chance: np.random.Generator, stage: int, load: float, disc: np.ndarray, fovea: np.ndarray) -> Lesions:
    """Plan of an eye at a stage from 0 to 4; ``load`` from 0 to 1 says how far the stage has gone."""
    aneurysms = between(chance, load, ((0, 0), (1, 8), (4, 24), (10, 32), (14, 42))[stage])
    haemorrhages = between(chance, load, ((0, 0), (0, 0), (1, 12), (17, 34), (38, 66))[stage])
    clusters = between(chance, load, ((0, 0), (0, 0), (0, 4), (2, 8), (4, 10))[stage])
    wool = between(chance, load, ((0, 0), (0, 0), (0, 1), (0, 3), (2, 7))[stage])
    ground = Ground(chance, disc, fovea)
    return joined(
        [
            microaneurysms(chance, ground.spread(aneurysms)),
            hemorrhagic(chance, ground.spread(haemorrhages, evenly=stage >= 3), disc, stage),
            *(deposits(chance, ground, load if stage == 2 else 1.0) for _ in range(clusters)),
            cotton(chance, ground.around_disc(wool), disc),
        ]
    )


def between(chance: np.random.Generator, load: float, limits: tuple[int, int]) -> int:
    """Number between two limits that follows the load, with some play."""
    low, high = limits
    return int(np.clip(round(low + (high - low) * (load + 0.25 * chance.standard_normal())), low, high))


class Ground:
    """Where lesions may lie: in view, off the disc and off the very centre of the fovea."""

    def __init__(self, chance: np.random.Generator, disc: np.ndarray, fovea: np.ndarray):
        self.chance, self.disc, self.fovea = chance, disc, fovea

    def free(self, points: np.ndarray) -> np.ndarray:
        """Which points a lesion may be centred on."""
        shown = (np.hypot(*points.T) < 0.92) & (np.abs(points[:, 1]) < 0.77)
        off = np.hypot(*(points - self.disc).T) > 0.21
        return np.asarray(shown & off & (np.hypot(*(points - self.fovea).T) > 0.03))

    def spread(self, count: int, evenly: bool = False) -> np.ndarray:
        """Places over the whole field, denser at the posterior pole; ``evenly`` gives each quadrant its share."""
        points = self.fovea + (0.15, 0) + 0.48 * self.chance.standard_normal((40 + 6 * count, 2))
        points = points[self.free(points)]
        if not evenly:
            return np.asarray(points[:count])
        parts = [points[quadrant(points, self.fovea) == number][: max(5, count // 5)] for number in range(4)]
        kept = np.concatenate(parts)[:count]
        rest = points[~(points[:, None] == kept[None]).all(axis=2).any(axis=1)]
        return np.concatenate([kept, rest[: count - len(kept)]])

    def around_disc(self, count: int) -> np.ndarray:
        """Places near the arcades, at some distance from the disc."""
        angle = self.chance.uniform(0, 2 * np.pi, 60 + 8 * count)
        far = self.chance.uniform(0.32, 0.85, len(angle))
        points = self.disc + np.stack([far * np.cos(angle), far * np.sin(angle)], axis=1)
        off = np.hypot(*(points - self.fovea).T) > 0.25
        return np.asarray(points[self.free(points) & off][:count])

    def cluster(self, count: int) -> np.ndarray:
        """Places of deposits: a ring or an arc around a leaking spot, or a loose heap, mostly in the macula."""
        centre = self.fovea + (0.1, 0) + self.chance.uniform(0.15, 0.5) * direction(self.chance.uniform(0, 2 * np.pi))
        around = self.chance.uniform(0, 2 * np.pi) + self.chance.uniform(1.2, 5) * self.chance.random(count)
        size = self.chance.uniform(0.05, 0.15)
        if self.chance.random() < 0.5:
            ring = direction(around) * (size * (1 + 0.16 * self.chance.standard_normal(count)))[:, None]
            return centre + ring
        seeds = centre + 0.6 * size * self.chance.standard_normal((5, 2))
        return seeds[self.chance.integers(0, 5, count)] + 0.028 * self.chance.standard_normal((count, 2))


def direction(angle: float | np.ndarray) -> np.ndarray:
    """Unit vectors of angles."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def columns(
    chance: np.random.Generator,
    finding: str,
    place: np.ndarray,
    radius: np.ndarray,
    form: np.ndarray | int,
    stretch: np.ndarray,
    angle: np.ndarray,
    density: np.ndarray,
) -> Lesions:
    """Lesions of one finding; their outlines are left to chance."""
    count = len(place)
    number, form = np.full(count, FINDINGS.index(finding)), np.broadcast_to(form, count)
    return Lesions(number, place, radius, form, stretch, angle, density, chance.uniform(0, 2 * np.pi, (count, WAVES)))


def microaneurysms(chance: np.random.Generator, place: np.ndarray) -> Lesions:
    """Tiny dark red dots."""
    count = len(place)
    return columns(
        chance,
        "microaneurysms",
        place,
        chance.uniform(0.0040, 0.0062, count),
        ROUNDED,
        chance.uniform(1, 1.25, count),
        chance.uniform(0, np.pi, count),
        chance.uniform(0.75, 1, count),
    )


def hemorrhagic(chance: np.random.Generator, place: np.ndarray, disc: np.ndarray, stage: int) -> Lesions:
    """Dark red dots and blots, and flames that follow the nerve fibres away from the disc."""
    count = len(place)
    flame = chance.random(count) < 0.3
    radius = np.clip(0.0125 * np.exp(0.55 * chance.standard_normal(count)), 0.008, 0.06) * (1 + 0.12 * (stage == 4))
    stretch = np.where(flame, chance.uniform(1.8, 3.5, count), chance.uniform(1, 1.6, count))
    away = place - disc
    radial = np.arctan2(away[:, 1], away[:, 0]) + 0.25 * chance.standard_normal(count)
    angle = np.where(flame, radial, chance.uniform(0, np.pi, count))
    density = chance.uniform(0.6, 1.0, count)
    return columns(
        chance,
        "haemorrhages",
        place,
        radius * np.where(flame, 1.15, 1),
        np.where(flame, FLAME, ROUNDED),
        stretch,
        angle,
        density,
    )


def deposits(chance: np.random.Generator, ground: Ground, load: float) -> Lesions:
    """One cluster of hard exudates: many small waxy deposits and a few larger ones that have run together."""
    place = ground.cluster(int(14 + chance.integers(5, 60) * (0.4 + load)))
    place = place[ground.free(place)]
    count = len(place)
    radius = np.clip(0.0056 * np.exp(0.55 * chance.standard_normal(count)), 0.003, 0.03)
    return columns(
        chance,
        "hard_exudates",
        place,
        radius,
        ROUNDED,
        chance.uniform(1, 1.7, count),
        chance.uniform(0, np.pi, count),
        chance.uniform(0.5, 0.95, count),
    )


def cotton(chance: np.random.Generator, place: np.ndarray, disc: np.ndarray) -> Lesions:
    """Soft exudates: pale spots with fluffy edges, a little longer across the nerve fibres."""
    count, away = len(place), place - disc
    angle = np.arctan2(away[:, 1], away[:, 0]) + np.pi / 2 + 0.4 * chance.standard_normal(count)
    return columns(
        chance,
        "soft_exudates",
        place,
        chance.uniform(0.021, 0.039, count),
        FLUFFY,
        chance.uniform(1.0, 1.7, count),
        angle,
        chance.uniform(0.6, 0.85, count),
    )
