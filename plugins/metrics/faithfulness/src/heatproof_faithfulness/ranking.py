"""The ranks of an image's pixels, patches or superpixels by the relevance that a heatmap gives them."""

from dataclasses import dataclass
from math import prod

import numpy as np

from heatproof.errors import DataError, Undefined
from heatproof.metric import Case
from heatproof.records import Array, Sample
from heatproof.seeding import generator


@dataclass(frozen=True)
class Ranking:
    """The ranks of ``count`` pixels, or regions of pixels, of an image, most relevant first.

    ``ranks`` (*space) is 0 at the most relevant one, and ``count`` outside the field.
    """

    ranks: Array
    count: int

    def reversed(self) -> "Ranking":
        """The same pixels or regions, least relevant first."""
        return Ranking(np.where(self.ranks < self.count, self.count - 1 - self.ranks, self.count), self.count)


def ranking(case: Case, patch: int = 1) -> Ranking:
    """Rank the patches of an image, squares of ``patch`` pixels along each side, as ``ranked`` does."""
    return ranked(case, patches(case.sample.space, patch))


def ranked(case: Case, regions: Array) -> Ranking:
    """Rank regions of an image, numbered per pixel (*space), by the mean of the heatmap over their pixels in the field.

    By a sum, patches that the border cuts would have less relevance only because they have fewer pixels. Ties are
    broken in an order drawn by seed and id, the same for every heatmap: a constant heatmap ranks at random.
    """
    heatmap = finite_heatmap(case)
    field = examined_field(case.sample)
    assert case.batch is not None
    # Numbered from 0: some regions may lie outside the field.
    region_numbers, numbers = np.unique(regions[field], return_inverse=True)
    count = len(region_numbers)
    # Exact for equal float32 values, which must tie whatever the size of their regions.
    relevance = np.bincount(numbers, weights=heatmap[field]) / np.bincount(numbers)
    tie_breaks = generator(case.batch.seed, case.sample.id, "ties").permutation(count)
    ranks = np.empty(count, dtype=np.int64)
    ranks[np.lexsort((tie_breaks, -relevance))] = np.arange(count)
    pixel_ranks = np.full(heatmap.shape, count)
    pixel_ranks[field] = ranks[numbers]
    return Ranking(pixel_ranks, count)


def patches(space: tuple[int, ...], side: int) -> Array:
    """Compute the number of the patch of each pixel (*space); the last patches may be smaller.

    >>> patches((3, 4), 2).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]
    """
    positions = tuple(axis // side for axis in np.indices(space))
    return np.asarray(np.ravel_multi_index(positions, tuple(-(-size // side) for size in space)))


def patch_count(space: tuple[int, ...], side: int) -> int:
    """The number of patches of a grid."""
    return prod(-(-size // side) for size in space)


def finite_heatmap(case: Case) -> Array:
    """Return the heatmap (*space) in float64; raises ``Undefined`` if not finite, ``DataError`` if on another grid."""
    assert case.heatmap is not None
    heatmap = np.asarray(case.heatmap.values, dtype=np.float64)
    space = case.sample.space
    if heatmap.shape != space:
        raise DataError(f"the heatmap of {case.sample.id} is {heatmap.shape}, its image {space}; explain on one grid.")
    if not np.isfinite(heatmap).all():
        raise Undefined("the heatmap holds values that are not finite")
    return heatmap


def field_of(sample: Sample) -> Array:
    """Return the field (*space) bool of a sample; the whole grid where none is stored."""
    if sample.field is None:
        return np.ones(sample.space, dtype=bool)
    return sample.field


def examined_field(sample: Sample) -> Array:
    """Return the field (*space) bool of a sample; raises ``Undefined`` where it is empty."""
    field = field_of(sample)
    if not field.any():
        raise Undefined("the field of the sample is empty: there is no pixel to rank")
    return field
