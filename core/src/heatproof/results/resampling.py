"""Resampling of patients as counts per case: bootstrap, jackknife, swaps, and the draws of Watanabe et al. 2022.

Counts (rows, cases) come in pieces of bounded size. ``Metric.summarise`` values all rows of a piece in one call;
``scipy.stats`` would call it per row. Whole patients are drawn or swapped, as the cases of one patient are alike.

Pieces depend on the numbers of rows and cases only, and change no number: draws go on where those of the piece before
ended, and every row of a matrix product has the bits that it has in the undivided product. OpenBLAS sums the last rows,
and those of small matrices, in another order, so only the last piece is no multiple of ``ALIGNED``, and none is small.
Every case occurs in a piece of 64 rows, except with a probability below 1e-12: a metric may ignore cases that do not.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..records import Array
from ..seeding import generator

PARITY_RESAMPLES = 30
"""The number of resamples of Watanabe et al. 2022."""
PARITY_SIZES = (55, 60)
"""The fewest and the most cases of their resamples; all sizes between are equally likely."""
PARITY_DRAWS = 10 * PARITY_RESAMPLES
"""The number of draws at once: later draws replace those without a value."""
PIECE = 2**24
"""The most counts in a piece, unless ``2 * ALIGNED`` rows have more: 64 MB, and twice that in float64."""
ALIGNED = 64
"""The rows of a piece are a multiple of this, except for the last piece."""
BLOCK = 2**20
"""Draws at once: few enough for the processor's cache."""


def sampling(patients: tuple[str, ...], resamples: int, seed: int, interval: str) -> Iterable[Array]:
    """The read-only counts for an interval, in pieces: a row of ones, the resamples, and for ``bca`` the jackknife.

    A single piece is kept for the next combination on the same cases. The few rows of ``parity`` are never divided.
    """
    rows = 1 + resamples
    if interval == "bca":
        rows += len(set(patients))
    sizes = piece_sizes(rows, len(patients))
    if interval == "parity":
        sizes = (1 + PARITY_DRAWS,)
    pieces = _pieces if len(sizes) > 1 else _only_piece
    return pieces(patients, resamples, seed, interval, sizes)


@lru_cache(maxsize=1)
def _only_piece(*arguments: Any) -> list[Array]:
    return list(_pieces(*arguments))


def _pieces(
    patients: tuple[str, ...], resamples: int, seed: int, interval: str, sizes: Sequence[int]
) -> Iterator[Array]:
    count, position = numbered(patients)
    for piece in regrouped(_blocks(count, resamples, seed, interval), sizes):
        # The order in memory decides the last bit of a mean: these differ in it.
        counts: Array = piece.take(position, axis=1) if interval == "bca" else piece[:, position]
        counts.setflags(write=False)
        yield counts


def _blocks(count: int, resamples: int, seed: int, interval: str) -> Iterator[Array]:
    """The rows of ``sampling`` as counts per sorted patient (rows, patients), in blocks."""
    yield np.ones((1, count), dtype=np.int32)
    if interval == "parity":
        yield _parity(count, seed)
    else:
        yield from _resamples(count, resamples, seed)
    if interval == "bca":
        yield from ((rows[:, None] != np.arange(count)).astype(np.int32) for rows in _numbers(count, count))


def piece_sizes(rows: int, columns: int) -> tuple[int, ...]:
    """The number of rows in each piece of counts (rows, columns); the last piece takes the rest.

    >>> piece_sizes(10_001, 1_000), piece_sizes(1_000, 53_576)
    ((10001,), (128, 128, 128, 128, 128, 128, 232))
    """
    size = ALIGNED * max(1, PIECE // 2 // max(1, columns) // ALIGNED)
    whole = max(1, rows // size) - 1
    return (*[size] * whole, rows - size * whole)


def regrouped(blocks: Iterator[Array], sizes: Sequence[int]) -> Iterator[Array]:
    """The rows of blocks (…, columns) in pieces of ``sizes`` rows."""
    waiting: list[Array] = []
    for size in sizes:
        while sum(map(len, waiting)) < size:
            waiting.append(next(blocks))
        rows = np.concatenate(waiting)
        waiting = [rows[size:].copy()]
        yield rows[:size]


def _numbers(rows: int, columns: int) -> Iterator[Array]:
    """The numbers of the rows (r,) of each block of draws (rows, columns).

    Blocks have a multiple of four rows: draws of bytes use four bytes at a time, and drop the rest at their end.
    """
    size = 4 * max(1, BLOCK // max(1, columns) // 4)
    return (np.arange(start, min(start + size, rows)) for start in range(0, max(1, rows), size))


def resample_counts(patients: Sequence[str], resamples: int, seed: int) -> Array:
    """How often each case occurs (resamples, cases) when whole patients are drawn with replacement.

    Sorted patients are drawn: the order of the cases does not matter.

    >>> resample_counts(["one", "one", "one"], 2, seed=0).tolist()
    [[1, 1, 1], [1, 1, 1]]
    """
    count, position = numbered(patients)
    return np.concatenate(list(_resamples(count, resamples, seed)))[:, position]


def _resamples(count: int, resamples: int, seed: int) -> Iterator[Array]:
    rng = generator(seed, "bootstrap")
    return (_counts(rng.integers(0, count, size=(len(rows), count)), count) for rows in _numbers(resamples, count))


def _parity(count: int, seed: int) -> Array:
    """How often each case occurs (draws, count) when 55 to 60 single cases are drawn, as in Watanabe et al. 2022."""
    rng = generator(seed, "parity")
    fewest, most = PARITY_SIZES
    sizes = rng.integers(fewest, most + 1, size=PARITY_DRAWS)
    draws = rng.integers(0, count, size=(PARITY_DRAWS, most))
    # Draws beyond the size of their resample are counted in an extra column, which is cut off.
    draws[np.arange(most) >= sizes[:, None]] = count
    return _counts(draws, count + 1)[:, :count]


def _counts(draws: Array, count: int) -> Array:
    """How often each index below ``count`` occurs in each row of draws (rows, count)."""
    cells = draws + count * np.arange(len(draws))[:, None]
    counts: Array = np.bincount(cells.ravel(), minlength=len(draws) * count).reshape(len(draws), count)
    return counts.astype(np.int32)


def numbered(patients: Sequence[str]) -> tuple[int, Array]:
    """The number of patients, and the position of each case's patient (cases,) among the sorted patients."""
    names, position = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    return len(names), position


def swap_counts(patients: Sequence[str], permutations: int, seed: int) -> tuple[Iterator[tuple[Array, Array]], bool]:
    """Swaps of patients between combinations [a; b]: all that there are, or ``permutations`` random ones if fewer.

    Returns the counts (rows, 2 n) of both after the swaps, in pieces, and whether these are all swaps. The very first
    row swaps nobody.
    """
    count, position = numbered(patients)
    exact = 2**count <= permutations
    rows = 2**count if exact else permutations + 1
    pieces = regrouped(_swapped(count, permutations, exact, seed), piece_sizes(rows, 2 * len(patients)))
    return (_sides(swapped, position) for swapped in pieces), exact


def _swapped(count: int, permutations: int, exact: bool, seed: int) -> Iterator[Array]:
    """Whether each patient is swapped (rows, patients), nobody in the first row, in blocks."""
    if exact:
        yield from ((rows[:, None] >> np.arange(count) & 1).astype(bool) for rows in _numbers(2**count, count))
        return
    yield np.zeros((1, count), dtype=bool)
    rng = generator(seed, "permutation")
    for rows in _numbers(permutations, count):
        yield rng.integers(0, 2, size=(len(rows), count), dtype=np.uint8).astype(bool)


def _sides(swapped: Array, position: Array) -> tuple[Array, Array]:
    """The counts (rows, 2 n) of both combinations for swaps (rows, patients) and each case's position (n,) in them."""
    sides = [(swapped == moved)[:, position].astype(np.int32) for moved in (False, True)]
    return np.hstack(sides), np.hstack(sides[::-1])
