"""The connected components of a heatmap at falling thresholds, followed as they grow and merge.

``scipy.ndimage.label`` would label the whole grid again at every threshold.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from heatproof.records import Array


@dataclass(frozen=True)
class Hottest:
    """The flat ``positions`` (p,) of the hottest pixels of a heatmap, hottest first, ties in grid order.

    ``reached`` (t,) counts the pixels that reach each of the falling ``thresholds`` (t,).
    """

    positions: Array
    thresholds: Array
    reached: Array


def hottest(heatmap: Array, most: int, count: int) -> Hottest:
    """Return at most ``most`` hottest pixels, and at most ``count`` of their values as thresholds.

    More than ``count`` values are thinned by rank in geometric progression, because the curve is read where candidates
    are few and small.
    """
    flat = heatmap.ravel()
    positions = np.arange(flat.size)
    if most < flat.size:
        # Of the negative: a partition is slow where most pixels are the smallest, as behind a ReLU.
        positions = np.flatnonzero(flat > -np.partition(-flat, most)[most])
    positions = positions[np.argsort(flat[positions])[::-1]]
    values = flat[positions]
    first = np.diff(values, prepend=np.inf) != 0
    # The second sort puts ties in grid order; one stable sort would take five times as long as both.
    positions = np.sort(np.cumsum(first) * flat.size + positions) % flat.size
    reached = np.append(np.flatnonzero(first)[1:], len(values))[: len(values)]
    if len(reached) > count:
        reached = reached[np.unique(np.searchsorted(reached, geometric_ranks(len(values), count)))]
    return Hottest(positions, values[reached - 1], reached)


def geometric_ranks(size: int, count: int) -> Array:
    """Return the integers from 1 to ``size``; where these exceed ``count``, at most ``count`` in geometric progression.

    >>> geometric_ranks(3, 5).tolist(), geometric_ranks(100, 5).tolist()
    ([1, 2, 3], [1, 3, 10, 32, 100])
    """
    if size <= count:
        return np.arange(1, size + 1)
    return np.unique(np.geomspace(1, size, count).round().astype(np.int64))


def offsets(dimensions: int, connectivity: int) -> list[tuple[int, ...]]:
    """List one of each pair of opposite steps to a neighbour: along the axes only (4), or also diagonally (8).

    >>> offsets(2, 4)
    [(0, 1), (1, 0)]
    """
    steps = [step for step in product((-1, 0, 1), repeat=dimensions) if step > (0,) * dimensions]
    return [step for step in steps if connectivity == 8 or np.count_nonzero(step) == 1]


def components(hot: Hottest, shape: tuple[int, ...], connectivity: int) -> Iterator[tuple[Array, int]]:
    """Yield per threshold the component (k,), from 0, of the k pixels that reach it, and the number of components.

    Each pixel belongs to the basin of the peak to which steepest ascent leads. All pixels on the ascent reach the
    pixel's threshold too, so only basins have to be merged, where neighbours in different basins reach the threshold.
    The effort depends on the number of hot pixels, not on the grid.
    """
    pairs = list(_neighbours(hot.positions, shape, connectivity))
    peak_of = _peaks(pairs, len(hot.positions))
    is_peak = peak_of == np.arange(len(peak_of))
    basins = (np.cumsum(is_peak) - 1)[peak_of]
    cooler, first, second = _borders(pairs, basins)
    peak_stops = np.searchsorted(np.flatnonzero(is_peak), hot.reached)
    border_stops = np.searchsorted(cooler, hot.reached)
    labels = np.empty(np.count_nonzero(is_peak), dtype=np.int64)
    peak = border = count = 0
    for stop, peak_stop, border_stop in zip(hot.reached, peak_stops, border_stops):
        nodes = count + peak_stop - peak
        labels[peak:peak_stop] = np.arange(count, nodes)
        edges = slice(border, border_stop)
        count, merged = _merged(labels[first[edges]], labels[second[edges]], nodes)
        labels[:peak_stop] = merged[labels[:peak_stop]]
        peak = peak_stop
        border = border_stop
        yield labels[basins[:stop]], count


def _neighbours(positions: Array, shape: tuple[int, ...], connectivity: int) -> Iterator[tuple[Array, Array]]:
    """Yield per direction the pairs of neighbours among the pixels, by rank: (e,) and (e,), neither with repeats."""
    padded = tuple(length + 2 for length in shape)
    padded_positions = np.ravel_multi_index([axis + 1 for axis in np.unravel_index(positions, shape)], padded)
    ranks = np.full(int(np.prod(padded)), -1)
    ranks[padded_positions] = np.arange(len(positions))
    strides = np.cumprod((1, *padded[:0:-1]))[::-1]
    for offset in offsets(len(shape), connectivity):
        neighbours = ranks[padded_positions + int(strides @ offset)]
        pixels = np.flatnonzero(neighbours >= 0)
        yield pixels, neighbours[pixels]


def _peaks(pairs: Sequence[tuple[Array, Array]], pixels: int) -> Array:
    """Find the peak (p,), by rank, that each pixel reaches by steps to its hottest neighbour."""
    up = np.arange(pixels)
    for first, second in pairs:
        up[first] = np.minimum(up[first], second)
        up[second] = np.minimum(up[second], first)
    while not np.array_equal(up, further := up[up]):
        up = further
    return up


def _borders(pairs: Sequence[tuple[Array, Array]], basins: Array) -> tuple[Array, Array, Array]:
    """List neighbours in different basins: the cooler one's rank (e,) ascending, and the basins of both (e,)."""
    first = np.concatenate([pixels for pixels, _ in pairs])
    second = np.concatenate([neighbours for _, neighbours in pairs])
    across = basins[first] != basins[second]
    first = first[across]
    second = second[across]
    cooler = np.maximum(first, second)
    order = np.argsort(cooler)
    return cooler[order], basins[first[order]], basins[second[order]]


def _merged(first: Array, second: Array, nodes: int) -> tuple[int, Array]:
    """Count the components of a graph with edges (e,) between nodes, and number the component (nodes,) of each node."""
    if not len(first):
        return nodes, np.arange(nodes)
    graph = csr_array((np.ones(len(first)), (first, second)), shape=(nodes, nodes))
    count, merged = connected_components(graph, directed=False)
    return int(count), merged
