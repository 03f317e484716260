"""Areas under the ROC curve of several classes, and their averages, of every resample in one call.

``measurements`` hold per class the score of each case and 1 for a case of the class, else 0: (cases, 2). ``counts``
(r, cases) is how often each case occurs.
"""

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np

from heatproof.records import Array

from .ranks import auc, blocks


def pairs(measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
    """Compute for each pair of classes the area (r,) on their cases alone: the mean of either one against the other.

    Hand and Till, "A simple generalisation of the area under the ROC curve for multiple class classification problems",
    Machine Learning 45 (2001).
    """
    return {
        f"{first} / {second}": _pair(measurements[first], measurements[second], counts)
        for first, second in combinations(measurements, 2)
    }


def _pair(first: Array, second: Array, counts: Array) -> Array:
    within = np.flatnonzero(_either(first, second))
    areas = [auc(values[within, 0], values[within, 1], counts[:, within]) for values in (first, second)]
    return np.asarray(np.mean(areas, axis=0))


def _either(first: Array, second: Array) -> Array:
    """Tell which cases (cases,) are of one of two classes."""
    return np.asarray((first[:, 1] == 1) | (second[:, 1] == 1))


def shares_of_classes(measurements: Mapping[str, Array], counts: Array) -> Array:
    """Count the cases of each class (r, classes)."""
    return counts @ np.stack([values[:, 1] == 1 for values in measurements.values()], axis=1).astype(np.float64)


def shares_of_pairs(measurements: Mapping[str, Array], counts: Array) -> Array:
    """Count the cases of each pair of classes (r, pairs)."""
    members = [_either(first, second) for first, second in combinations(measurements.values(), 2)]
    return counts @ np.stack(members, axis=1).astype(np.float64)


def average(areas: Mapping[str, Array], weights: Array | None = None) -> Array:
    """Compute the mean (r,) of the areas, plain or with weights (r, areas); NaN where one of them is."""
    stacked = np.stack(list(areas.values()), axis=1)
    if weights is None:
        return np.asarray(stacked.mean(axis=1))
    totals = weights.sum(axis=1)
    means: Array = np.divide(
        (weights * stacked).sum(axis=1), totals, out=np.full(len(totals), np.nan), where=totals > 0
    )
    return means


def pooled(measurements: Mapping[str, Array], counts: Array, area: Callable[[Array, Array], Array]) -> Array:
    """Compute the area (r,) of all pairs of a case and a class together, each with its own score (micro average).

    ``area`` computes it from scores and positive cases (n, 2) and counts (r, n).
    """
    values = np.concatenate(list(measurements.values()))
    parts = blocks(counts, len(values))
    return np.concatenate([area(values, np.tile(block, (1, len(measurements)))) for block in parts])
