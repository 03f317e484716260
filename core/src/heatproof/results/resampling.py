"""Resampling of patients as counts per case: bootstrap, jackknife, swaps, and the draws of Watanabe et al. 2022.

Every function gives counts (rows, cases), as ``Metric.summarise`` values all rows in one call; ``scipy.stats`` would
call it per row. Whole patients are drawn or swapped, as the cases of one patient are alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..records import Array
from ..seeding import generator

PARITY_RESAMPLES = 30
"""The number of resamples of Watanabe et al. 2022."""
PARITY_SIZES = (55, 60)
"""The fewest and the most cases of their resamples; all sizes between are equally likely."""
PARITY_DRAWS = 10 * PARITY_RESAMPLES
"""The number of draws at once: later draws replace those without a value."""


@dataclass(frozen=True)
class Swaps:
    """Counts (rows, 2 n) of two combinations [a; b] after swaps of patients; the first row swaps nobody."""

    first: Array
    second: Array
    exact: bool


@lru_cache(maxsize=1)
def sampling(patients: tuple[str, ...], resamples: int, seed: int, interval: str) -> Array:
    """The read-only counts for an interval: a row of ones, the resamples, and for ``bca`` those of the jackknife."""
    parts = [np.ones((1, len(patients)), dtype=np.int32)]
    if interval == "parity":
        parts.append(parity_counts(patients, seed))
    else:
        parts.append(resample_counts(patients, resamples, seed))
    if interval == "bca":
        parts.append(leave_one_out(patients))
    counts: Array = np.vstack(parts)
    counts.setflags(write=False)
    return counts


def resample_counts(patients: Sequence[str], resamples: int, seed: int) -> Array:
    """How often each case occurs (resamples, cases) when whole patients are drawn with replacement.

    Sorted patients are drawn: the order of the cases does not matter.

    >>> resample_counts(["one", "one", "one"], 2, seed=0).tolist()
    [[1, 1, 1], [1, 1, 1]]
    """
    count, position = numbered(patients)
    draws = generator(seed, "bootstrap").integers(0, count, size=(resamples, count))
    return _counts(draws, count)[:, position]


def parity_counts(ids: Sequence[str], seed: int) -> Array:
    """How often each case occurs (draws, cases) when 55 to 60 single cases are drawn, as in Watanabe et al. 2022."""
    count, position = numbered(ids)
    rng = generator(seed, "parity")
    fewest, most = PARITY_SIZES
    sizes = rng.integers(fewest, most + 1, size=PARITY_DRAWS)
    draws = rng.integers(0, count, size=(PARITY_DRAWS, most))
    # Draws beyond the size of their resample are counted in an extra column, which is cut off.
    draws[np.arange(most) >= sizes[:, None]] = count
    return _counts(draws, count + 1)[:, position]


def _counts(draws: Array, count: int) -> Array:
    """How often each index below ``count`` occurs in each row of draws (rows, count)."""
    cells = draws + count * np.arange(len(draws))[:, None]
    counts: Array = np.bincount(cells.ravel(), minlength=len(draws) * count).reshape(len(draws), count)
    return counts.astype(np.int32)


def leave_one_out(patients: Sequence[str]) -> Array:
    """The counts (patients, cases) of the jackknife: each row leaves one of the sorted patients out.

    >>> leave_one_out(["b", "a", "b"]).tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    count, position = numbered(patients)
    counts: Array = np.arange(count)[:, None] != position
    return counts.astype(np.int32)


def numbered(patients: Sequence[str]) -> tuple[int, Array]:
    """The number of patients, and the position of each case's patient (cases,) among the sorted patients."""
    names, position = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    return len(names), position


def swap_counts(patients: Sequence[str], permutations: int, seed: int) -> Swaps:
    """The swaps of patients between [a; b]: all of them, or ``permutations`` random ones if there are more."""
    count, position = numbered(patients)
    exact = 2**count <= permutations
    if exact:
        swapped = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)
    else:
        swapped = generator(seed, "permutation").integers(0, 2, size=(permutations, count), dtype=np.uint8).astype(bool)
        swapped = np.vstack([np.zeros((1, count), dtype=bool), swapped])
    sides = [(swapped == moved)[:, position].astype(np.int32) for moved in (False, True)]
    return Swaps(np.hstack(sides), np.hstack(sides[::-1]), exact)
