"""Units of a layer against masks of findings: thresholds over all pixels, and intersection over union."""

from collections.abc import Callable, Iterable, Iterator
from math import floor

import numpy as np
import torch
from torch.nn import functional

from heatproof.records import Array

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""Number of axes → the name of linear interpolation in torch."""
Pieces = Iterable[tuple[slice, Array]]
Masks = Callable[[int], Array]
"""Gives the masks of a case (finding, *space): 1 inside, 0 outside, NaN of a finding that nobody examined."""


def upsampled(maps: Array, space: tuple[int, ...]) -> Array:
    """Return maps (m, channel, *grid) on the grid of the image (m, channel, *space), linear, corners not aligned."""
    values = torch.from_numpy(np.ascontiguousarray(maps, np.float32))
    return functional.interpolate(values, size=space, mode=LINEAR[len(space)], align_corners=False).numpy()


def thresholds(pieces: Iterable[Array], total: int, quantile: float) -> Array:
    """Return of each channel (channel,) the value that a share ``quantile`` of all pixels exceeds.

    ``pieces`` are values (channel, m), ``total`` of each channel in all. The result is exact, with linear interpolation
    as ``numpy.quantile`` has it: only the largest values are kept, of which it depends.

    >>> float(thresholds([np.arange(1, 1001)[None]], 1000, 0.005)[0])
    995.005
    """
    position = (total - 1) * (1 - quantile)
    below = floor(position + 1e-9)
    count = total - below
    largest: Array | None = None
    for piece in pieces:
        values = piece
        if largest is not None:
            values = np.concatenate([largest, piece], axis=1)
        if values.shape[1] > count:
            values = np.partition(values, values.shape[1] - count, axis=1)[:, -count:]
        largest = values
    assert largest is not None
    ordered = np.sort(largest, axis=1).astype(np.float64)
    upper = ordered[:, min(1, count - 1)]
    return np.asarray(ordered[:, 0] + max(0.0, position - below) * (upper - ordered[:, 0]))


def overlaps(pieces: Pieces, limits: Array, masks: Masks, findings: int, space: tuple[int, ...]) -> Array:
    """Return the intersection over union (channel, finding) of units and findings over all cases.

    A unit covers the pixels whose value, on the grid of the image, exceeds its limit (channel,). A finding counts in
    the cases in which it was examined; NaN if neither unit nor finding covers a pixel there.
    """
    shared = np.zeros((len(limits), findings))
    joint = np.zeros((len(limits), findings))
    for piece, maps in pieces:
        for row, values in zip(range(piece.start, piece.stop), maps):
            covered = (upsampled(values[None], space)[0] > _spread(limits, len(space))).reshape(len(limits), -1)
            marked = masks(row).reshape(findings, -1)
            examined = np.asarray(np.isfinite(marked).all(axis=1))
            inside = np.where(examined[:, None], marked, 0).astype(np.float32)
            both = covered.astype(np.float32) @ inside.T
            either = covered.sum(axis=1)[:, None] + inside.sum(axis=1) - both
            shared += np.where(examined, both, 0)
            joint += np.where(examined, either, 0)
    return np.divide(shared, joint, out=np.full_like(shared, np.nan), where=joint > 0)


def pixels(pieces: Pieces, channels: slice, space: tuple[int, ...]) -> Iterator[Array]:
    """Yield the values (channel, pixel) of some channels on the grid of the image, one case after the other."""
    for _, maps in pieces:
        for values in maps[:, channels]:
            yield upsampled(values[None], space)[0].reshape(values.shape[0], -1)


def _spread(limits: Array, axes: int) -> Array:
    return limits.reshape(-1, *(1,) * axes)
