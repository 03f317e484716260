"""The sensitivity of free-response curves at some numbers of false positives per image.

``numpy.interp`` takes one curve at a time, and needs increasing values.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from heatproof.records import Array

Interpolation = Literal["linear", "step"]

RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
"""The usual numbers of false positives per image."""


def sensitivity_at(
    false_positives: Array, sensitivity: Array, rates: Sequence[float] = RATES, interpolation: Interpolation = "linear"
) -> Array:
    """Compute the sensitivity (…, rates) of curves (…, points); the points are in any order.

    Every curve starts at (0, 0) and is made monotone: more false positives never lower the sensitivity. Between two
    points it rises along a line, or at the second point only (``step``); beyond the last point it is constant.

    >>> sensitivity_at(np.array([0.5, 1.0]), np.array([0.4, 0.8]), [0.25, 0.75, 2]).round(3).tolist()
    [0.2, 0.6, 0.8]
    >>> sensitivity_at(np.array([0.5, 1.0]), np.array([0.4, 0.8]), [0.25, 0.75, 2], "step").tolist()
    [0.0, 0.4, 0.8]
    """
    start = [(0, 0)] * (false_positives.ndim - 1) + [(1, 0)]
    x = np.pad(false_positives, start)
    y = np.pad(sensitivity, start)
    return np.stack([_value_at(x, y, rate, interpolation) for rate in rates], axis=-1)


def _value_at(x: Array, y: Array, rate: float, interpolation: Interpolation) -> Array:
    """Compute the value (…,) at ``rate`` of curves (…, points) that have a point at 0."""
    within = x <= rate
    reached: Array = np.where(within, y, 0).max(axis=-1)
    if interpolation == "step":
        return reached
    previous = np.where(within, x, 0).max(axis=-1)
    following = np.where(within, np.inf, x).min(axis=-1)
    # Of several next points at the same x the line leads to the lowest; the curve rises vertically to the others.
    lowest = np.where(x == following[..., None], y, np.inf).min(axis=-1)
    beyond = np.isinf(following)
    rise = np.where(beyond, 0, np.maximum(lowest, reached) - reached)
    run = np.where(beyond, 1, following - previous)
    return np.asarray(reached + rise * (rate - previous) / run)


def extrapolated(false_positives: Array, rates: Sequence[float] = RATES) -> Array:
    """Compute the share of the rates (…,) beyond the last point of curves (…, points), where curves are constant.

    >>> float(extrapolated(np.array([0.5, 1.0]), [0.25, 1, 2, 4]))
    0.5
    """
    last = np.max(false_positives, axis=-1, initial=0)
    return np.asarray(np.mean(np.asarray(rates) > last[..., None], axis=-1))
