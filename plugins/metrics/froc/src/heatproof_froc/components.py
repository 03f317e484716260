"""The connected components of a heatmap at falling thresholds, followed pixel by pixel as they grow and merge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from heatproof.records import Array


@dataclass(frozen=True)
class Hottest:
    """The hottest pixels of a heatmap: flat ``positions`` (p,), hottest first, equal ones row by row.

    ``reached`` (t,) says how many of them reach each of the falling ``thresholds`` (t,).
    """

    positions: Array
    thresholds: Array
    reached: Array


def hottest(heatmap: Array, most: int, count: int) -> Hottest:
    """At most ``most`` hottest pixels and at most ``count`` of the values at which the heatmap can be cut.

    All values where there are no more of them than ``count``, else those of ranks in geometric progression: candidates
    are few and small where the curve is read.
    """
    flat = heatmap.ravel()
    # Of the negative: a partition is slow where most pixels are the smallest, as behind a ReLU.
    last = -np.partition(-flat, most)[most] if most < flat.size else -np.inf
    positions = np.flatnonzero(flat > last)
    positions = positions[np.argsort(flat[positions])[::-1]]
    values = flat[positions]
    first = np.diff(values, prepend=np.inf) != 0
    # Equal ones in the order of the grid, by a second sort: a stable one takes five times as long as both.
    positions = np.sort(np.cumsum(first) * flat.size + positions) % flat.size
    reached = np.append(np.flatnonzero(first)[1:], len(values))[: len(values)]
    if len(reached) > count:
        reached = reached[np.unique(np.searchsorted(reached, spread(len(values), count)))]
    return Hottest(positions, values[reached - 1], reached)


def spread(size: int, count: int) -> Array:
    """At most ``count`` whole numbers from 1 to ``size``, in geometric progression where there are more.

    >>> spread(3, 5).tolist(), spread(100, 5).tolist()
    ([1, 2, 3], [1, 3, 10, 32, 100])
    """
    if size <= count:
        return np.arange(1, size + 1)
    return np.unique(np.geomspace(1, size, count).round().astype(np.int64))


def offsets(dimensions: int, connectivity: int) -> list[tuple[int, ...]]:
    """One of each pair of opposite steps to a neighbour: along the axes only (4), or diagonals too (8).

    >>> offsets(2, 4)
    [(0, 1), (1, 0)]
    """
    steps = [step for step in product((-1, 0, 1), repeat=dimensions) if step > (0,) * dimensions]
    return [step for step in steps if connectivity == 8 or np.count_nonzero(step) == 1]


def components(hot: Hottest, shape: tuple[int, ...], connectivity: int) -> Iterator[tuple[Array, int]]:
    """Per threshold the component (k,) from 0 of each of the k pixels that reach it, and the number of components.

    Each pixel belongs to the basin of the peak that steepest ascent leads to, and whatever threshold it reaches, the
    way up does too: only basins are merged, where two neighbours of different ones reach the threshold. The effort
    follows the hot pixels, not the grid.
    """
    pairs = list(_neighbours(hot.positions, shape, connectivity))
    basins = _basins(pairs, len(hot.positions))
    own = basins == np.arange(len(basins))
    peaks, basins = np.flatnonzero(own), (np.cumsum(own) - 1)[basins]
    cooler, one, other = _borders(pairs, basins)
    labels = np.empty(len(peaks), dtype=np.int64)
    there = edge = count = 0
    for stop, risen, bound in zip(
        hot.reached, np.searchsorted(peaks, hot.reached), np.searchsorted(cooler, hot.reached)
    ):
        labels[there:risen] = np.arange(count, count + risen - there)
        count, merged = _merged(labels[one[edge:bound]], labels[other[edge:bound]], count + risen - there)
        labels[:risen] = merged[labels[:risen]]
        there, edge = risen, bound
        yield labels[basins[:stop]], count


def _neighbours(positions: Array, shape: tuple[int, ...], connectivity: int) -> Iterator[tuple[Array, Array]]:
    """The pairs of neighbours among the pixels, by rank, in each direction: (e,) and (e,), either without repeats."""
    padded = tuple(length + 2 for length in shape)
    places = np.ravel_multi_index([axis + 1 for axis in np.unravel_index(positions, shape)], padded)
    rank = np.full(int(np.prod(padded)), -1)
    rank[places] = np.arange(len(places))
    strides = np.cumprod((1, *padded[:0:-1]))[::-1]
    for offset in offsets(len(shape), connectivity):
        neighbour = rank[places + int(strides @ offset)]
        own = np.flatnonzero(neighbour >= 0)
        yield own, neighbour[own]


def _basins(pairs: Sequence[tuple[Array, Array]], pixels: int) -> Array:
    """The peak (p,), by rank, that each pixel reaches by steps to its hottest neighbour."""
    up = np.arange(pixels)
    for one, other in pairs:
        up[one] = np.minimum(up[one], other)
        up[other] = np.minimum(up[other], one)
    while not np.array_equal(up, further := up[up]):
        up = further
    return up


def _borders(pairs: Sequence[tuple[Array, Array]], basins: Array) -> tuple[Array, Array, Array]:
    """Where basins touch: the rank of the cooler of two neighbours (e,) ascending, and both their basins (e,)."""
    across = [basins[one] != basins[other] for one, other in pairs]
    one, other = (np.concatenate([pair[side][kept] for pair, kept in zip(pairs, across)]) for side in (0, 1))
    cooler = np.maximum(one, other)
    order = np.argsort(cooler)
    return cooler[order], basins[one[order]], basins[other[order]]


def _merged(one: Array, other: Array, nodes: int) -> tuple[int, Array]:
    """The number of components of a graph with edges (e,) between nodes, and the component (nodes,) of each node."""
    if not len(one):
        return nodes, np.arange(nodes)
    graph = csr_array((np.ones(len(one)), (one, other)), shape=(nodes, nodes))
    count, merged = connected_components(graph, directed=False)
    return int(count), merged
