"""Strokes of vessels: how strongly a vessel tree covers each pixel, and how strongly it reflects the light."""

import numpy as np

from .frame import Frame
from .vessels import STRIDE, Tree

CHUNK = 2_000_000
FAINT = 0.0050


def strokes(frame: Frame, tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Cover and reflex of a vessel tree, both (height, width) from 0 to 1."""
    points, radii = traced(frame, tree)
    cover = np.zeros(frame.height * frame.width, np.float32)
    reflex = np.zeros_like(cover)
    size = np.ceil(np.maximum(radii, 0.75) + 1.0).astype(int)
    for reach in np.unique(size):
        mask = size == reach
        count = max(1, CHUNK // (2 * reach + 1) ** 2)
        for start in range(0, int(mask.sum()), count):
            chunk = slice(start, start + count)
            stamp(frame, points[mask][chunk], radii[mask][chunk], int(reach), cover, reflex)
    return cover.reshape(frame.height, frame.width), reflex.reshape(frame.height, frame.width)


def traced(frame: Frame, tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Points about half a pixel apart along every vessel, and the radii at these points, both in pixels."""
    child = np.flatnonzero(tree.parents >= 0)
    parent = tree.parents[child]
    grand = np.where(tree.parents[parent] >= 0, tree.parents[parent], parent)
    start = tree.points[parent]
    end = tree.points[child]
    heir = np.where(tree.heirs[child] >= 0, tree.heirs[child], child)
    entering = 0.5 * (end - tree.points[grand])
    leaving = 0.5 * (tree.points[heir] - start)
    count = max(2, int(np.ceil(STRIDE * frame.radius / 0.6)))
    share = (np.arange(count) / count)[:, None, None]
    curve = (
        start
        + (end - start) * share**2 * (3 - 2 * share)
        + share * (1 - share) ** 2 * entering
        + share**2 * (share - 1) * leaving
    )
    radii = tree.radii[parent] * (1 - share[..., 0]) + tree.radii[child] * share[..., 0]
    forking = tree.radii[parent] > 1.25 * tree.radii[child]
    radii[:, forking] = tree.radii[child][forking]
    return frame.pixels(curve.reshape(-1, 2)), radii.reshape(-1) * frame.radius


def stamp(
    frame: Frame, points: np.ndarray, radii: np.ndarray, reach: int, cover: np.ndarray, reflex: np.ndarray
) -> None:
    """Stamp discs of one size into the cover and the reflex, in place; where discs overlap, the strongest counts."""
    offset = np.arange(-reach, reach + 1)
    column, row = np.floor(points).astype(int).T
    columns = column[:, None] + offset
    rows = row[:, None] + offset
    across = (columns + 0.5 - points[:, :1])[:, None, :]
    down = (rows + 0.5 - points[:, 1:])[:, :, None]
    distance = np.sqrt(across**2 + down**2).astype(np.float32)
    radius = radii[:, None, None].astype(np.float32)
    strength = np.minimum(1, radius / (FAINT * frame.radius)) ** 0.68 * np.minimum(1, radius / 0.7)
    wide = np.maximum(radius, 0.7)
    edge = np.maximum(0.6, 0.36 * wide)
    ink = strength * np.clip((wide - distance) / (2 * edge) + 0.5, 0, 1)
    shine = np.exp(-((distance / (0.33 * wide)) ** 2)) * np.clip((radius - 1.5) / 2.5, 0, 1)
    inside = ((columns >= 0) & (columns < frame.width))[:, None, :] & ((rows >= 0) & (rows < frame.height))[:, :, None]
    flat = (rows[:, :, None] * frame.width + columns[:, None, :])[inside]
    np.maximum.at(cover, flat, ink[inside])
    if reach > 2:
        np.maximum.at(reflex, flat, shine[inside])
