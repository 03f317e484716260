"""Which cases occur how often: resamples by patient, patients left out or swapped, the draws of Watanabe et al. 2022.

Everything here is a matrix of counts (rows, cases); ``Metric.summarise`` turns all rows into values in one call.
Patients, never single cases, are drawn or swapped, as cases of one patient are alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..records import Array
from ..seeding import generator

PARITY_RESAMPLES = 30
"""How many resamples Watanabe et al. 2022 draw."""
PARITY_SIZES = (55, 60)
"""The fewest and the most cases of such a resample, all sizes between them equally likely."""
PARITY_DRAWS = 10 * PARITY_RESAMPLES
"""How many are drawn at once, so that those without a value can be replaced by later ones."""


@dataclass(frozen=True)
class Swaps:
    """Counts (rows, 2 n) of the two combinations [a; b] after patients changed sides; the first row swaps nobody."""

    first: Array
    second: Array
    exact: bool


@lru_cache(maxsize=1)
def sampling(groups: tuple[str, ...], resamples: int, seed: int, interval: str) -> Array:
    """The rows for an interval of this kind (1 + resamples, cases), read-only: the first takes every case once.

    ``bca`` has a row without each patient besides (patients,). ``parity`` draws what ``groups`` names: there the cases.
    """
    drawn = parity_counts(groups, seed) if interval == "parity" else resample_counts(groups, resamples, seed)
    parts = [np.ones((1, len(groups)), dtype=np.int32), drawn]
    if interval == "bca":
        parts.append(leave_one_out(groups))
    counts: Array = np.vstack(parts)
    counts.setflags(write=False)
    return counts


def resample_counts(groups: Sequence[str], resamples: int, seed: int) -> Array:
    """How often each case occurs (resamples, cases) when whole patients are drawn with replacement.

    The draws belong to the sorted patients, so that the order of the cases does not matter.

    >>> resample_counts(["one", "one", "one"], 2, seed=0).tolist()
    [[1, 1, 1], [1, 1, 1]]
    """
    count, position = numbered(groups)
    drawn = generator(seed, "bootstrap").integers(0, count, size=(resamples, count))
    return _counted(drawn, count)[:, position]


def parity_counts(ids: Sequence[str], seed: int) -> Array:
    """How often each case occurs (draws, cases) when 55 to 60 single cases are drawn, as Watanabe et al. 2022 do.

    There are more draws than resamples: those without a value are replaced by the next ones.
    """
    count, position = numbered(ids)
    random, (fewest, most) = generator(seed, "parity"), PARITY_SIZES
    sizes = random.integers(fewest, most + 1, size=PARITY_DRAWS)
    drawn = random.integers(0, count, size=(PARITY_DRAWS, most))
    # What exceeds the size of its resample falls into a column of its own, which is cut off.
    drawn[np.arange(most) >= sizes[:, None]] = count
    return _counted(drawn, count + 1)[:, position]


def _counted(drawn: Array, count: int) -> Array:
    """How often each of ``count`` things was drawn in each row (rows, count)."""
    cells = drawn + count * np.arange(len(drawn))[:, None]
    counts: Array = np.bincount(cells.ravel(), minlength=len(drawn) * count).reshape(len(drawn), count)
    return counts.astype(np.int32)


def leave_one_out(groups: Sequence[str]) -> Array:
    """The counts (patients, cases) of the jackknife: each row is without one of the sorted patients.

    >>> leave_one_out(["b", "a", "b"]).tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    count, position = numbered(groups)
    counts: Array = np.arange(count)[:, None] != position
    return counts.astype(np.int32)


def numbered(groups: Sequence[str]) -> tuple[int, Array]:
    """The number of patients, and each case's position among the sorted patients (cases,)."""
    names, position = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    return len(names), position


def swap_counts(groups: Sequence[str], permutations: int, seed: int) -> Swaps:
    """The counts of both sides when whole patients are swapped between two combinations [a; b].

    All patterns where there are no more of them than ``permutations``, else that many random ones after the first.
    """
    count, position = numbered(groups)
    exact = 2**count <= permutations
    if exact:
        swapped = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)
    else:
        swapped = generator(seed, "permutation").integers(0, 2, size=(permutations, count), dtype=np.uint8).astype(bool)
        swapped = np.vstack([np.zeros((1, count), dtype=bool), swapped])
    sides = [(swapped == moved)[:, position].astype(np.int32) for moved in (False, True)]
    return Swaps(np.hstack(sides), np.hstack(sides[::-1]), exact)
