"""What a heatmap finds at each threshold, under each hit rule: a case's own step function."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import generate_binary_structure, label

from heatproof.records import Array

from .components import Hottest

RULES = ("overlap", "centroid", "iou", "peak")
"""When a component hits a lesion: they share a pixel; its centroid lies in it; they overlap enough; its peak does."""


@dataclass(frozen=True)
class Lesions:
    """The lesions of one reading: ``numbers`` (*space) from 1, 0 outside, and how many there are."""

    numbers: Array
    count: int


@dataclass(frozen=True)
class Steps:
    """Per rule (in the order of ``RULES``) and threshold the lesions hit and the false positives, (rules, t) each."""

    hits: Array
    false_positives: Array

    def __add__(self, other: "Steps") -> "Steps":
        return Steps(self.hits + other.hits, self.false_positives + other.false_positives)


def lesions(coverage: Array, covered: float, connectivity: int) -> Lesions:
    """The connected regions of a marked area (*space); a pixel belongs to one where at least ``covered`` is marked.

    A region without such a pixel keeps its fullest ones, so that no lesion is lost for being small.

    >>> lesions(np.array([[0.1, 0.3, 0, 0.2, 0.9, 1]]), 0.5, connectivity=8).numbers.tolist()
    [[0, 1, 0, 0, 2, 2]]
    """
    dimensions = coverage.ndim
    structure = generate_binary_structure(dimensions, dimensions if connectivity == 8 else 1)
    numbers, count = label(coverage > 0, structure)
    marked = np.flatnonzero(numbers)
    region, share = numbers.flat[marked], coverage.flat[marked]
    fullest = np.zeros(count + 1, dtype=share.dtype)
    np.maximum.at(fullest, region, share)
    numbers.flat[marked[share < np.minimum(covered, fullest)[region]]] = 0
    return Lesions(numbers, count)


def steps(hot: Hottest, found: Sequence[tuple[Array, int]], marked: Lesions, least_iou: float) -> Steps:
    """What the components ``found`` at each threshold of ``hot`` hit, and how many of them hit nothing."""
    number = marked.numbers.ravel()[hot.positions]
    inside = np.flatnonzero(number)
    sizes = np.bincount(marked.numbers.ravel(), minlength=marked.count + 1)
    places = [axis.astype(np.float64) for axis in np.unravel_index(hot.positions, marked.numbers.shape)]
    counted = np.zeros((2, len(RULES), len(found)))
    for step, (labels, count) in enumerate(found):
        size = np.bincount(labels, minlength=count)
        own = inside[: np.searchsorted(inside, len(labels))]
        shared = _shared(labels[own], number[own], size, sizes, least_iou)
        centres = [np.rint(np.bincount(labels, axis[: len(labels)], count) / size).astype(np.int64) for axis in places]
        centroid, peak = marked.numbers[tuple(centres)], number[_first(labels, count)]
        pairs = [(labels[own], number[own]), _alone(centroid), shared, _alone(peak)]
        for rule, (component, lesion) in enumerate(pairs):
            counted[:, rule, step] = _distinct(lesion), count - _distinct(component)
    return Steps(*counted)


def _shared(component: Array, lesion: Array, size: Array, sizes: Array, least_iou: float) -> tuple[Array, Array]:
    """The components and lesions (pairs,) that overlap enough, from the pixels (k,) that lie in both of a pair."""
    pairs, shared = np.unique(component * len(sizes) + lesion, return_counts=True)
    component, lesion = np.divmod(pairs, len(sizes))
    enough = shared >= least_iou * (size[component] + sizes[lesion] - shared)
    return component[enough], lesion[enough]


def _alone(lesion: Array) -> tuple[Array, Array]:
    """The components and lesions (pairs,) where each component has one lesion (components,), or 0 for none."""
    hitting = np.flatnonzero(lesion)
    return hitting, lesion[hitting]


def _first(labels: Array, count: int) -> Array:
    """The first pixel of each component (count,); pixels come hottest first."""
    first = np.empty(count, dtype=np.int64)
    first[labels[::-1]] = np.arange(len(labels))[::-1]
    return first


def _distinct(values: Array) -> int:
    """How many different whole numbers there are; they are small, so that counting beats sorting."""
    return int(np.count_nonzero(np.bincount(values)))
