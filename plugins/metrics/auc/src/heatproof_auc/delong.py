"""The variance of an area under the ROC curve in closed form, and the intervals that follow from it."""

import warnings
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from heatproof.records import Array


@dataclass(frozen=True)
class DeLong:
    """An area under the ROC curve and its variance; NaN where it has none."""

    auc: float
    variance: float

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.sqrt(self.variance))

    def wald(self, confidence: float = 0.95) -> tuple[float, float]:
        """The interval that is symmetric around the area, cut to [0, 1]; warns where it has no width."""
        margin = self._quantile(confidence) * self.error
        low, high = np.clip([self.auc - margin, self.auc + margin], 0, 1)
        return float(low), float(high)

    def logit(self, confidence: float = 0.95) -> tuple[float, float]:
        """The interval that is symmetric in log(auc / (1 - auc)) and stays inside [0, 1]; warns like ``wald``."""
        quantile = self._quantile(confidence)
        if self.auc in (0, 1):
            return self.auc, self.auc
        odds, width = self.auc / (1 - self.auc), quantile * self.error / (self.auc * (1 - self.auc))
        low, high = (float(1 / (1 + np.exp(sign * width) / odds)) for sign in (1, -1))
        return low, high

    def _quantile(self, confidence: float) -> float:
        """The normal quantile of a central interval."""
        if not self.variance > 0:
            warnings.warn(
                f"DeLong's variance of this area ({self.auc:.4g}) is {self.variance:.4g}, so that its interval says "
                "nothing; take the bootstrap or more cases.",
                RuntimeWarning,
                stacklevel=3,
            )
        return NormalDist().inv_cdf((1 + confidence) / 2)


def delong(scores: Array, positive: Array) -> DeLong:
    """The area of scores (cases,) against ``positive`` (cases,) bool, and its variance from placements.

    The variance is NaN with fewer than two positive or two negative cases, the area as well without any of one kind.

    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves: a nonparametric approach", Biometrics 44 (1988).

    >>> delong(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    DeLong(auc=0.75, variance=0.125)
    """
    upper, lower = scores[positive], scores[~positive]
    if not len(upper) or not len(lower):
        return DeLong(np.nan, np.nan)
    placements = _placements(upper, lower), 1 - _placements(lower, upper)
    area = float(placements[0].mean())
    if min(len(upper), len(lower)) < 2:
        return DeLong(area, np.nan)
    return DeLong(area, float(sum(each.var(ddof=1) / len(each) for each in placements)))


def _placements(values: Array, others: Array) -> Array:
    """The share of ``others`` that lie below each value, ties counting half."""
    ordered = np.sort(others)
    sides = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(sides / (2 * len(others)))
