"""Vessels of the synthetic retina: trees of arteries and veins that grow from the disc until they feed the whole field.

Trunks follow the arcades; finer vessels grow by space colonisation (Runions et al. 2007): points that lack blood pull
the nearest vessel towards them, in rounds from coarse to fine, and so branches grow branches.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Lengths are in field radii. A round is a number of thirsty points, their reach, and the distance that suffices.
STRIDE = 0.02
INERTIA = 1.8
ROUNDS = ((30, 0.60, 0.12), (110, 0.42, 0.08), (420, 0.26, 0.048))
# Upper arcades in a plane with the fovea at (0, 0) and the disc at (1, 0); the lower arcades mirror them.
TEMPORAL = (
    (1.02, 0.03),
    (1.03, -0.12),
    (0.93, -0.40),
    (0.72, -0.62),
    (0.38, -0.74),
    (0.0, -0.74),
    (-0.42, -0.64),
    (-0.9, -0.56),
    (-1.5, -0.50),
)
NASAL = ((1.02, 0.03), (1.06, -0.12), (1.13, -0.45), (1.22, -0.80), (1.34, -1.3))
UPRIGHT = ((1.02, 0.03), (1.04, -0.14), (0.98, -0.5), (0.86, -0.80), (0.66, -1.05), (0.50, -1.4))


@dataclass(frozen=True)
class Tree:
    """A vessel tree: the points of its centre lines, and parent, heir (-1: none) and radius of each point."""

    points: np.ndarray
    parents: np.ndarray
    heirs: np.ndarray
    radii: np.ndarray


def grow(
    rng: np.random.Generator,
    disc: np.ndarray,
    fovea: np.ndarray,
    stem: float,
    wander: float,
    bulge: tuple[float, float],
) -> Tree:
    """Grow a tree; its widest trunk has the radius ``stem``, its vessels ``wander`` sideways (both in field radii).

    ``bulge`` is how far the upper and the lower arcade bow out, relative to the template.
    """
    points, parents = trunks(rng, disc, fovea, bulge)
    for count, reach, enough in ROUNDS:
        thirst = thirsty(rng, count, disc, fovea)
        points, parents = colonise(rng, points, parents, thirst, reach, enough)
    flow, remaining = supplied(parents)
    heirs = inherited(parents, flow)
    radii = calibre(parents, flow, remaining, stem)
    sway = wander * (1 + 0.6 * np.clip(1 - 3 * radii / stem, 0, 1))
    return Tree(wandering(rng, smoothed(points, parents, heirs), disc, sway), parents, heirs, radii)


def trunks(
    rng: np.random.Generator, disc: np.ndarray, fovea: np.ndarray, bulge: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Points and parents of the trunks along the arcades, above and below the fovea; each trunk forks once, early."""
    axis = disc - fovea
    turn = np.array([[axis[0], -axis[1]], [axis[1], axis[0]]])
    lines = []
    hilum = (rng.normal(0.01, 0.02), rng.normal(0, 0.015))
    for side, bow in zip((1, -1), bulge):
        for template, spread in ((TEMPORAL, 0.10), (NASAL, 0.09), (UPRIGHT, 0.09)):
            if template is UPRIGHT and rng.random() < 0.4:
                continue
            plan = np.array(template) * (1, side)
            growing = np.linspace(0, 1, len(plan))[:, None] ** 0.7
            sway = ndimage.gaussian_filter1d(rng.standard_normal(plan.shape), 0.8, axis=0) * 1.6
            plan = plan * (1, bow + 0.04 * rng.standard_normal()) + spread * growing * sway
            lines.append(resampled(fovea + (plan + hilum + rng.normal(0, (0.022, 0.03))) @ turn.T))
    points, parents = chained(lines)
    return forked(rng, points, parents, lines)


def resampled(line: np.ndarray) -> np.ndarray:
    """Smooth line through the given corners with points one stride apart, cut off just outside the field."""
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    stations = np.arange(0, length[-1], STRIDE)
    dense = np.stack([np.interp(stations, length, line[:, axis]) for axis in (0, 1)], axis=1)
    # Mirroring the line about its ends keeps them in place when it is smoothed.
    before = 2 * dense[0] - dense[12:0:-1]
    after = 2 * dense[-1] - dense[-2:-14:-1]
    smooth = ndimage.gaussian_filter1d(np.concatenate([before, dense, after]), 4.0, axis=0)[12:-12]
    outside = np.hypot(*smooth.T) > 1.08
    if outside.any():
        return np.asarray(smooth[: np.argmax(outside)])
    return np.asarray(smooth)


def chained(lines: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Points and parents of separate lines."""
    parents = []
    start = 0
    for line in lines:
        parents.append(np.concatenate([[-1], np.arange(start, start + len(line) - 1)]))
        start += len(line)
    return np.concatenate(lines), np.concatenate(parents)


def forked(
    rng: np.random.Generator, points: np.ndarray, parents: np.ndarray, lines: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Add a large branch to each trunk, which leaves it outwards, at a narrow angle, in its first half."""
    start = 0
    for line in lines:
        index = int(len(line) * rng.uniform(0.22, 0.55))
        fork = line[index]
        heading = line[index + 2] - fork
        heading /= np.hypot(*heading)
        outwards = np.sign(heading[0] * fork[1] - heading[1] * fork[0]) * rng.uniform(0.5, 0.75)
        turns = outwards * np.clip(np.arange(30) / 3, 0.35, 1) * np.linspace(1, 0.6, 30) ** 2
        steps = STRIDE * np.stack(
            [
                heading[0] * np.cos(turns) - heading[1] * np.sin(turns),
                heading[0] * np.sin(turns) + heading[1] * np.cos(turns),
            ],
            axis=1,
        )
        branch = fork + np.cumsum(steps, axis=0)
        branch = branch[: max(4, int(rng.integers(12, 30)))]
        branch = branch[np.hypot(*branch.T) < 1.08]
        chain = np.concatenate([[start + index], len(points) + np.arange(len(branch) - 1)])[: len(branch)]
        points = np.concatenate([points, branch])
        parents = np.concatenate([parents, chain.astype(int)])
        start += len(line)
    return points, parents


def thirsty(rng: np.random.Generator, count: int, disc: np.ndarray, fovea: np.ndarray) -> np.ndarray:
    """Draw points of the retina that lack blood, everywhere but in the fovea and on the disc."""
    points = rng.uniform(-1.06, 1.06, (3 * count, 2)) * (1, 0.9)
    off_fovea = np.hypot(*(points - fovea).T) > 0.15
    off_disc = np.hypot(*(points - disc).T) > 0.2
    in_field = np.hypot(*points.T) < 1.05
    return np.asarray(points[off_fovea & off_disc & in_field][:count])


def colonise(
    rng: np.random.Generator,
    points: np.ndarray,
    parents: np.ndarray,
    thirst: np.ndarray,
    reach: float,
    enough: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Grow the tree towards the thirsty points within ``reach`` until it is nearer to them than ``enough``."""
    headings = np.where(parents[:, None] >= 0, points - points[parents], 0) / STRIDE
    distance, nearest = nearness(thirst, points, 0)
    for _ in range(60):
        children = np.bincount(parents[parents >= 0], minlength=len(points))
        unfed = (distance < reach) & (distance > enough) & (children[nearest] < 2)
        if not unfed.any():
            break
        sources, owner = np.unique(nearest[unfed], return_inverse=True)
        pull = thirst[unfed] - points[nearest[unfed]]
        pull /= np.hypot(*pull.T)[:, None]
        pull = np.stack([np.bincount(owner, pull[:, axis]) for axis in (0, 1)], axis=1)
        pull /= np.hypot(*pull.T)[:, None] + 1e-6
        heading = pull + INERTIA * headings[sources] + 0.10 * rng.standard_normal(pull.shape)
        heading /= np.hypot(*heading.T)[:, None] + 1e-6
        fresh = points[sources] + STRIDE * heading
        closer, newest = nearness(thirst, fresh, len(points))
        points = np.concatenate([points, fresh])
        parents = np.concatenate([parents, sources])
        headings = np.concatenate([headings, heading])
        nearest = np.where(closer < distance, newest, nearest)
        distance = np.minimum(closer, distance)
    return points, parents


def nearness(thirst: np.ndarray, points: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Distance from every thirsty point to the nearest vessel point, and the index of that point plus ``first``."""
    squared = ((thirst[:, None, :] - points[None, :, :]) ** 2).sum(axis=2)
    nearest = squared.argmin(axis=1)
    return np.sqrt(squared[np.arange(len(thirst)), nearest]), nearest + first


def supplied(parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flow through every point, in vessel ends that it feeds, and the number of strides to the farthest of them."""
    flow = (np.bincount(parents[parents >= 0], minlength=len(parents)) == 0).astype(float)
    remaining = np.zeros(len(parents))
    for child, parent in zip(reversed(range(len(parents))), reversed(parents.tolist())):
        if parent >= 0:
            flow[parent] += flow[child] + 0.05
            remaining[parent] = max(remaining[parent], remaining[child] + 1)
    return flow, remaining


def inherited(parents: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Heir of every point: the child with the largest flow, -1 at an end."""
    heirs = np.full(len(parents), -1)
    rising = np.argsort(flow, kind="stable")
    rising = rising[parents[rising] >= 0]
    heirs[parents[rising]] = rising
    return heirs


def smoothed(points: np.ndarray, parents: np.ndarray, heirs: np.ndarray) -> np.ndarray:
    """Pull every point between its parent and its heir, to remove corners from vessels."""
    movable = np.flatnonzero((parents >= 0) & (heirs >= 0))
    points = points.copy()
    for _ in range(14):
        points[movable] = 0.5 * points[movable] + 0.25 * (points[parents[movable]] + points[heirs[movable]])
    return points


def wandering(rng: np.random.Generator, points: np.ndarray, disc: np.ndarray, sway: np.ndarray) -> np.ndarray:
    """Move the points by a smooth random field, scaled by the ``sway`` of each point: the tortuosity of the vessels."""
    calm = (sway * np.clip(np.hypot(*(points - disc).T) / 0.3, 0.15, 1))[:, None]
    moved = points.copy()
    for scale, share in ((0.13, 1.0), (0.055, 0.4)):
        size = int(2.4 / scale)
        fields = ndimage.gaussian_filter(rng.standard_normal((2, size, size)), (0, 0.7, 0.7)) * 2.0
        positions = ((points + 1.2) / scale).T[::-1]
        shifts = [ndimage.map_coordinates(field, positions, order=2, mode="nearest") for field in fields]
        moved += share * calm * np.stack(shifts, axis=1)
    return moved


def calibre(parents: np.ndarray, flow: np.ndarray, remaining: np.ndarray, stem: float) -> np.ndarray:
    """Radius at every point: it grows with the flow, after Murray's law, and tapers towards the ends."""
    inner = parents >= 0
    radii = (flow / flow.max()) ** 0.45 * stem * np.clip((remaining + 2) / 14, 0.45, 1)
    for _ in range(4):
        radii[inner] = 0.5 * radii[inner] + 0.5 * np.minimum(radii[parents[inner]], 1.2 * radii[inner])
    generation = np.zeros(len(parents))
    for child, parent in enumerate(parents.tolist()):
        if parent >= 0:
            generation[child] = generation[parent] + 1
    return np.asarray(radii * np.clip(0.2 + 0.1 * generation, 0, 1))
