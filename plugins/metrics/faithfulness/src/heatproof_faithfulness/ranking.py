"""The order in which a heatmap takes the parts of an image."""

from dataclasses import dataclass
from math import prod

import numpy as np

from heatproof.errors import DataError, Undefined
from heatproof.metric import Case
from heatproof.records import Array, Sample
from heatproof.seeding import generator


@dataclass(frozen=True)
class Ranking:
    """The pixels or patches of an image, most relevant first.

    ``places`` (*space) is 0 where the most relevant of them lies, ``count`` (how many there are) outside the field.
    """

    places: Array
    count: int

    def reversed(self) -> "Ranking":
        """Least relevant first."""
        return Ranking(np.where(self.places < self.count, self.count - 1 - self.places, self.count), self.count)


def ranking(case: Case, patch: int = 1) -> Ranking:
    """The order of the patches of an image by the sum of the heatmap over what of them lies in the field.

    Equal ones are taken in an order drawn by seed and id, the same for every heatmap: a constant one ranks at random.
    """
    heat, field = finite(case), examined(case.sample)
    assert case.batch is not None
    names, numbers = np.unique(patches(heat.shape, patch)[field], return_inverse=True)
    relevance = np.bincount(numbers, weights=heat[field])
    draws = generator(case.batch.seed, case.sample.id, "ties").permutation(len(names))
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[np.lexsort((draws, -relevance))] = np.arange(len(names))
    places = np.full(heat.shape, len(names))
    places[field] = ranks[numbers]
    return Ranking(places, len(names))


def patches(space: tuple[int, ...], side: int) -> Array:
    """The number of the patch that each pixel (*space) belongs to; the last patches may be smaller.

    >>> patches((3, 4), 2).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]
    """
    places = tuple(axis // side for axis in np.indices(space))
    return np.asarray(np.ravel_multi_index(places, tuple(-(-size // side) for size in space)))


def patch_count(space: tuple[int, ...], side: int) -> int:
    """How many patches a grid has."""
    return prod(-(-size // side) for size in space)


def finite(case: Case) -> Array:
    """The heatmap (*space) in float64; raises ``Undefined`` where it is not finite, ``DataError`` on another grid."""
    assert case.heatmap is not None
    heat, space = np.asarray(case.heatmap.values, dtype=np.float64), case.sample.space
    if heat.shape != space:
        raise DataError(f"the heatmap of {case.sample.id} is {heat.shape}, its image {space}; explain on one grid.")
    if not np.isfinite(heat).all():
        raise Undefined("the heatmap holds values that are not finite")
    return heat


def examined(sample: Sample) -> Array:
    """Where there is image (*space) bool; raises ``Undefined`` where there is none at all."""
    field = np.ones(sample.space, dtype=bool) if sample.field is None else sample.field
    if not field.any():
        raise Undefined("the field of the sample is empty: there is no pixel to rank")
    return field
