"""Paired permutation tests between two combinations, and corrections for multiple comparisons."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..records import Array
from .intervals import TIE, Summarise, defined_cases
from .resampling import swap_counts


@dataclass(frozen=True)
class PairedTest:
    """The difference a - b of two combinations and its two-sided p, over the cases that are defined in both.

    ``permutations`` is the number of all swaps if ``exact``, otherwise of the random ones.
    """

    difference: float
    p: float
    permutations: int
    exact: bool
    cases: int
    patients: int


Exchangeable: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""``Metric.exchangeable``."""

UNTESTED = PairedTest(np.nan, np.nan, 0, False, 0, 0)


def paired_test(
    summarise: Summarise, a: Mapping[str, Array], b: Mapping[str, Array], patients: Sequence[str], measure: str,
    permutations: int, seed: int, exchangeable: Exchangeable = dict,
) -> PairedTest:  # fmt: skip
    """Test two combinations on the same cases: a two-sided permutation test that swaps whole patients.

    ``exchangeable`` brings the measurements of either one to a common scale, such as their ranks (Venkatraman and Begg,
    "A distribution-free procedure for comparing receiver operating characteristic curves from a paired experiment",
    Biometrika 83, 1996).

    With random swaps p = (1 + #{|d*| >= |d|}) / (1 + permutations), otherwise the exact share of all swaps; differences
    within ``TIE`` are equal. Returns ``UNTESTED`` if no case is defined in both.
    """
    first_side, second_side, tested_patients = on_shared_cases(a, b, patients, measure)
    if not tested_patients:
        return UNTESTED
    sides = [exchangeable(side) for side in (first_side, second_side)]
    stacked = {name: np.concatenate([side[name] for side in sides]) for name in sides[0]}
    pieces, exact = swap_counts(tested_patients, permutations, seed)
    values = [[summarise(stacked, counts)[measure] for counts in swapped] for swapped in pieces]
    first, second = map(np.concatenate, zip(*values))
    count = len(first) if exact else permutations
    difference = float(first[0] - second[0])
    p = _p_value(first, second)
    return PairedTest(difference, p, count, exact, len(tested_patients), len(set(tested_patients)))


def on_shared_cases(
    a: Mapping[str, Array], b: Mapping[str, Array], patients: Sequence[str], measure: str
) -> tuple[Mapping[str, Array], Mapping[str, Array], list[str]]:
    """The measurements of two combinations, and the patients, of the cases for which both have the measure."""
    defined = defined_cases(a, measure) & defined_cases(b, measure)
    first, second = ({name: np.asarray(side[name])[defined] for name in a} for side in (a, b))
    return first, second, [patient for patient, shared in zip(patients, defined) if shared]


def _p_value(first: Array, second: Array) -> float:
    """The share of rows whose values differ at least as much as in the first row; NaN if the first is undefined."""
    differences = np.abs(first - second)
    if np.isnan(differences[0]):
        return np.nan
    defined = ~np.isnan(differences)
    tolerance = TIE * max(np.abs(first[defined]).max(), np.abs(second[defined]).max())
    return float((differences[defined] >= differences[0] - tolerance).mean())


def holm(p_values: Array) -> Array:
    """Holm's adjusted p-values, which scipy lacks; NaN stays NaN and does not count as a comparison.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    >>> holm(np.array([0.01, 0.04, 0.03, np.nan])).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    adjusted, order = _copy_and_order(p_values)
    scaled = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted


def benjamini_hochberg(p_values: Array) -> Array:
    """Adjusted p-values that control the false discovery rate; NaN stays NaN and does not count as a comparison.

    Benjamini and Hochberg, "Controlling the false discovery rate: a practical and powerful approach to multiple
    testing", Journal of the Royal Statistical Society B 57 (1995).

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, np.nan])).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    # ``scipy.stats.false_discovery_control`` refuses NaN and rounds the last digit differently.
    adjusted, order = _copy_and_order(p_values)
    scaled = adjusted[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return adjusted


def benjamini_yekutieli(p_values: Array) -> Array:
    """Adjusted p-values that control the false discovery rate whatever the dependence of the tests; NaN stays NaN.

    As ``scipy.stats.false_discovery_control`` with ``method="by"``. Benjamini and Yekutieli, "The control of the false
    discovery rate in multiple testing under dependency", Annals of Statistics 29 (2001).

    >>> benjamini_yekutieli(np.array([0.01, 0.04, 0.03, np.nan])).round(4).tolist()
    [0.055, 0.0733, 0.0733, nan]
    """
    count = np.count_nonzero(~np.isnan(p_values))
    harmonic = float((1 / np.arange(1, count + 1)).sum())
    return np.asarray(np.minimum(benjamini_hochberg(p_values) * harmonic, 1))


def _copy_and_order(p_values: Array) -> tuple[Array, Array]:
    """A copy of the p-values, and the positions of the defined ones, smallest first."""
    copied = np.array(p_values, dtype=np.float64)
    return copied, np.argsort(copied, kind="stable")[: np.count_nonzero(~np.isnan(copied))]


CORRECTIONS: Mapping[str, Callable[[Array], Array]] = {
    "holm": holm, "benjamini_hochberg": benjamini_hochberg, "benjamini_yekutieli": benjamini_yekutieli,
}  # fmt: skip
"""Name → correction of the p-values of one table."""
