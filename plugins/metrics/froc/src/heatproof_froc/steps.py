"""The step function of a case: its hits and false positives at each threshold, under each hit rule."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import generate_binary_structure, label

from heatproof.records import Array

from .components import Hottest

RULES = ("overlap", "centroid", "iou", "peak")
"""A component hits a lesion where they share a pixel; its centroid is in it; their IoU is high; its peak is in it."""


@dataclass(frozen=True)
class Lesions:
    """The lesions of one reading: their ``numbers`` (*space) from 1, with 0 outside, and their ``count``."""

    numbers: Array
    count: int


@dataclass(frozen=True)
class Steps:
    """Numbers of hit lesions and of false positives (rules, t), per rule in the order of ``RULES`` and threshold."""

    hits: Array
    false_positives: Array

    def __add__(self, other: "Steps") -> "Steps":
        return Steps(self.hits + other.hits, self.false_positives + other.false_positives)


def lesions(coverage: Array, covered: float, connectivity: int) -> Lesions:
    """Number the connected regions of a coverage (*space); only pixels of at least ``covered`` belong to a lesion.

    A region without such a pixel consists of its pixels of highest coverage: small lesions are not lost.

    >>> lesions(np.array([[0.1, 0.3, 0, 0.2, 0.9, 1]]), 0.5, connectivity=8).numbers.tolist()
    [[0, 1, 0, 0, 2, 2]]
    """
    directions = {4: 1, 8: coverage.ndim}[connectivity]
    numbers, count = label(coverage > 0, generate_binary_structure(coverage.ndim, directions))
    marked = np.flatnonzero(numbers)
    regions = numbers.flat[marked]
    shares = coverage.flat[marked]
    # Not scipy.ndimage.maximum, which takes over ten times as long.
    highest = np.zeros(count + 1, dtype=shares.dtype)
    np.maximum.at(highest, regions, shares)
    numbers.flat[marked[shares < np.minimum(covered, highest)[regions]]] = 0
    return Lesions(numbers, count)


def steps(hot: Hottest, regions: Sequence[tuple[Array, int]], marked: Lesions, least_iou: float) -> Steps:
    """Count the lesions hit, and the components that hit none, of the ``regions`` at each threshold of ``hot``.

    ``regions`` holds per threshold the component (k,) of each pixel that reaches it, and the number of components.
    """
    numbers = marked.numbers.ravel()[hot.positions]
    inside = np.flatnonzero(numbers)
    lesion_sizes = np.bincount(marked.numbers.ravel(), minlength=marked.count + 1)
    positions = [axis.astype(np.float64) for axis in np.unravel_index(hot.positions, marked.numbers.shape)]
    counts = np.zeros((2, len(RULES), len(regions)))
    for step, (labels, count) in enumerate(regions):
        sizes = np.bincount(labels, minlength=count)
        pixels = inside[: np.searchsorted(inside, len(labels))]
        overlap = (labels[pixels], numbers[pixels])
        sums = [np.bincount(labels, axis[: len(labels)], count) for axis in positions]
        centroids = marked.numbers[tuple(np.rint(total / sizes).astype(np.int64) for total in sums)]
        peaks = numbers[_first_pixels(labels, count)]
        pairs = [overlap, _hits(centroids), _similar(*overlap, sizes, lesion_sizes, least_iou), _hits(peaks)]
        for rule, (component, lesion) in enumerate(pairs):
            counts[:, rule, step] = _distinct(lesion), count - _distinct(component)
    return Steps(*counts)


def _similar(
    component: Array, lesion: Array, sizes: Array, lesion_sizes: Array, least_iou: float
) -> tuple[Array, Array]:
    """Select the pairs of component and lesion (pairs,) of sufficient IoU, from the pixels (k,) that they share."""
    pairs, shared = np.unique(component * len(lesion_sizes) + lesion, return_counts=True)
    component, lesion = np.divmod(pairs, len(lesion_sizes))
    # Rounded first: the product of floats for 0.56 of 25 is above 14.
    enough = shared >= np.round(least_iou * (sizes[component] + lesion_sizes[lesion] - shared), 6)
    return component[enough], lesion[enough]


def _hits(lesions: Array) -> tuple[Array, Array]:
    """Select the pairs of component and lesion (pairs,) from the lesion (components,) of each component, 0 for none."""
    component = np.flatnonzero(lesions)
    return component, lesions[component]


def _first_pixels(labels: Array, count: int) -> Array:
    """Find the first, which is the hottest, pixel of each component (count,); ``numpy.unique`` would have to sort."""
    first = np.empty(count, dtype=np.int64)
    first[labels[::-1]] = np.arange(len(labels))[::-1]
    return first


def _distinct(values: Array) -> int:
    """Count the distinct values, which are small integers: a histogram is faster than ``numpy.unique``."""
    return int(np.count_nonzero(np.bincount(values)))
