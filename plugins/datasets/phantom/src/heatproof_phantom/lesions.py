"""Plans the lesions of the synthetic retina: their number, positions, sizes and forms.

Of the lesion pixels of the first 200 diseased eyes of seed 0 at height 356, microaneurysms hold 3 %, haemorrhages
40 %, hard exudates 45 % and soft exudates 11 %; in IDRiD they hold 1, 47, 44 and 8 %. The shares of
a smaller population are printed by ``pytest plugins/datasets/phantom/tests/test_drawing.py -k shares -s``.
"""

from dataclasses import dataclass, fields

import numpy as np

FINDINGS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
ROUNDED = 0
FLAME = 1
FLUFFY = 2
WAVES = 6


@dataclass(frozen=True)
class Lesions:
    """A plan of n lesions as columns of n values, which are cheap to make, to count and to draw.

    Parameters
    ----------
    finding: numpy.ndarray
        Number of the finding in ``FINDINGS``.
    centre: numpy.ndarray
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
    centre: np.ndarray
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
        """How many lesions of one finding lie in each of the four quadrants around ``centre``."""
        return np.bincount(quadrant(self.centre[self.finding == FINDINGS.index(finding)], centre), minlength=4)


def quadrant(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Quadrant, 0 to 3, of every point around ``centre``."""
    return np.asarray(2 * (points[:, 0] > centre[0]) + (points[:, 1] > centre[1]))


def joined(parts: list[Lesions]) -> Lesions:
    """Join several plans into one."""
    return Lesions(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Lesions)))


def planned(rng: np.random.Generator, stage: int, load: float, disc: np.ndarray, fovea: np.ndarray) -> Lesions:
    """Plan the lesions of an eye at a stage from 0 to 4; ``load`` from 0 to 1 is how far it has advanced in it."""
    aneurysms = between(rng, load, ((0, 0), (1, 8), (4, 24), (10, 32), (14, 42))[stage])
    haemorrhages = between(rng, load, ((0, 0), (0, 0), (1, 12), (17, 34), (38, 66))[stage])
    clusters = between(rng, load, ((0, 0), (0, 0), (0, 4), (2, 8), (4, 10))[stage])
    wool = between(rng, load, ((0, 0), (0, 0), (0, 1), (0, 3), (2, 7))[stage])
    ground = Ground(rng, disc, fovea)
    density = 1.0
    if stage == 2:
        density = load
    return joined(
        [
            microaneurysms(rng, ground.spread(aneurysms)),
            hemorrhagic(rng, ground.spread(haemorrhages, evenly=stage >= 3), disc, stage),
            *(deposits(rng, ground, density) for _ in range(clusters)),
            cotton(rng, ground.around_disc(wool), disc),
        ]
    )


def between(rng: np.random.Generator, load: float, limits: tuple[int, int]) -> int:
    """Draw a number between two limits: the higher the load, the higher the number."""
    low, high = limits
    return int(np.clip(round(low + (high - low) * (load + 0.25 * rng.standard_normal())), low, high))


class Ground:
    """The retina on which lesions may lie: in view, off the disc and off the very centre of the fovea."""

    def __init__(self, rng: np.random.Generator, disc: np.ndarray, fovea: np.ndarray):
        self.rng = rng
        self.disc = disc
        self.fovea = fovea

    def free(self, points: np.ndarray) -> np.ndarray:
        """Whether a lesion may be centred on each point, (n,) bool."""
        in_view = (np.hypot(*points.T) < 0.92) & (np.abs(points[:, 1]) < 0.77)
        off = np.hypot(*(points - self.disc).T) > 0.21
        return np.asarray(in_view & off & (np.hypot(*(points - self.fovea).T) > 0.03))

    def spread(self, count: int, evenly: bool = False) -> np.ndarray:
        """Centres over the whole field, denser at the posterior pole; ``evenly`` gives each quadrant its share."""
        points = self.fovea + (0.15, 0) + 0.48 * self.rng.standard_normal((40 + 6 * count, 2))
        points = points[self.free(points)]
        if not evenly:
            return np.asarray(points[:count])
        parts = [points[quadrant(points, self.fovea) == number][: max(5, count // 5)] for number in range(4)]
        even = np.concatenate(parts)[:count]
        others = points[~(points[:, None] == even[None]).all(axis=2).any(axis=1)]
        return np.concatenate([even, others[: count - len(even)]])

    def around_disc(self, count: int) -> np.ndarray:
        """Centres near the arcades, at some distance from the disc."""
        angle = self.rng.uniform(0, 2 * np.pi, 60 + 8 * count)
        distance = self.rng.uniform(0.32, 0.85, len(angle))
        points = self.disc + np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)
        off = np.hypot(*(points - self.fovea).T) > 0.25
        return np.asarray(points[self.free(points) & off][:count])

    def cluster(self, count: int) -> np.ndarray:
        """Centres of deposits: a ring or an arc around a leaking vessel, or a loose heap, mostly in the macula."""
        centre = self.fovea + (0.1, 0) + self.rng.uniform(0.15, 0.5) * direction(self.rng.uniform(0, 2 * np.pi))
        around = self.rng.uniform(0, 2 * np.pi) + self.rng.uniform(1.2, 5) * self.rng.random(count)
        size = self.rng.uniform(0.05, 0.15)
        if self.rng.random() < 0.5:
            ring = direction(around) * (size * (1 + 0.16 * self.rng.standard_normal(count)))[:, None]
            return centre + ring
        seeds = centre + 0.6 * size * self.rng.standard_normal((5, 2))
        return seeds[self.rng.integers(0, 5, count)] + 0.028 * self.rng.standard_normal((count, 2))


def direction(angle: float | np.ndarray) -> np.ndarray:
    """Unit vectors (..., 2) of angles."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def columns(
    rng: np.random.Generator,
    finding: str,
    centre: np.ndarray,
    radius: np.ndarray,
    form: np.ndarray | int,
    stretch: np.ndarray,
    angle: np.ndarray,
    density: np.ndarray,
) -> Lesions:
    """Lesions of one finding, with irregular outlines drawn at random."""
    count = len(centre)
    number = np.full(count, FINDINGS.index(finding))
    form = np.broadcast_to(form, count)
    return Lesions(number, centre, radius, form, stretch, angle, density, rng.uniform(0, 2 * np.pi, (count, WAVES)))


def microaneurysms(rng: np.random.Generator, centre: np.ndarray) -> Lesions:
    """Tiny dark red dots."""
    count = len(centre)
    return columns(
        rng,
        "microaneurysms",
        centre,
        rng.uniform(0.0040, 0.0062, count),
        ROUNDED,
        rng.uniform(1, 1.25, count),
        rng.uniform(0, np.pi, count),
        rng.uniform(0.75, 1, count),
    )


def hemorrhagic(rng: np.random.Generator, centre: np.ndarray, disc: np.ndarray, stage: int) -> Lesions:
    """Dark red dots and blots, and flames that follow the nerve fibres away from the disc."""
    count = len(centre)
    flame = rng.random(count) < 0.3
    radius = np.clip(0.0125 * np.exp(0.55 * rng.standard_normal(count)), 0.008, 0.06) * (1 + 0.12 * (stage == 4))
    stretch = np.where(flame, rng.uniform(1.8, 3.5, count), rng.uniform(1, 1.6, count))
    away = centre - disc
    radial = np.arctan2(away[:, 1], away[:, 0]) + 0.25 * rng.standard_normal(count)
    angle = np.where(flame, radial, rng.uniform(0, np.pi, count))
    density = rng.uniform(0.6, 1.0, count)
    return columns(
        rng,
        "haemorrhages",
        centre,
        radius * np.where(flame, 1.15, 1),
        np.where(flame, FLAME, ROUNDED),
        stretch,
        angle,
        density,
    )


def deposits(rng: np.random.Generator, ground: Ground, load: float) -> Lesions:
    """One cluster of hard exudates: many small waxy deposits and a few larger ones that have merged."""
    centre = ground.cluster(int(14 + rng.integers(5, 60) * (0.4 + load)))
    centre = centre[ground.free(centre)]
    count = len(centre)
    radius = np.clip(0.0056 * np.exp(0.55 * rng.standard_normal(count)), 0.003, 0.03)
    return columns(
        rng,
        "hard_exudates",
        centre,
        radius,
        ROUNDED,
        rng.uniform(1, 1.7, count),
        rng.uniform(0, np.pi, count),
        rng.uniform(0.5, 0.95, count),
    )


def cotton(rng: np.random.Generator, centre: np.ndarray, disc: np.ndarray) -> Lesions:
    """Soft exudates: pale spots with fluffy edges, a little longer across the nerve fibres."""
    count = len(centre)
    away = centre - disc
    angle = np.arctan2(away[:, 1], away[:, 0]) + np.pi / 2 + 0.4 * rng.standard_normal(count)
    return columns(
        rng,
        "soft_exudates",
        centre,
        rng.uniform(0.021, 0.039, count),
        FLUFFY,
        rng.uniform(1.0, 1.7, count),
        angle,
        rng.uniform(0.6, 0.85, count),
    )
