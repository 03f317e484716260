"""The closed-form variance of an area under the ROC curve, and confidence intervals from it."""

import warnings
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.stats import percentileofscore

from heatproof.records import Array


@dataclass(frozen=True)
class DeLong:
    """An area under the ROC curve and its variance; NaN where undefined."""

    auc: float
    variance: float

    @property
    def error(self) -> float:
        """The standard error."""
        return float(np.sqrt(self.variance))

    def wald(self, confidence: float = 0.95) -> tuple[float, float]:
        """The interval symmetric around the area, clipped to [0, 1]; warns where its width is zero or undefined."""
        margin = self._quantile(confidence) * self.error
        low, high = np.clip([self.auc - margin, self.auc + margin], 0, 1)
        return float(low), float(high)

    def logit(self, confidence: float = 0.95) -> tuple[float, float]:
        """The interval symmetric in log(auc / (1 - auc)), which lies within [0, 1]; warns like ``wald``."""
        quantile = self._quantile(confidence)
        if self.auc in (0, 1):
            return self.auc, self.auc
        odds = self.auc / (1 - self.auc)
        width = quantile * self.error / (self.auc * (1 - self.auc))
        low, high = (float(1 / (1 + np.exp(sign * width) / odds)) for sign in (1, -1))
        return low, high

    def _quantile(self, confidence: float) -> float:
        """The normal quantile of a central interval; warns where the variance is not positive."""
        if not self.variance > 0:
            warnings.warn(
                f"DeLong's variance of this area ({self.auc:.4g}) is {self.variance:.4g}, which gives no useful "
                "interval; use the bootstrap or more cases.",
                RuntimeWarning,
                stacklevel=3,
            )
        return NormalDist().inv_cdf((1 + confidence) / 2)


def delong(scores: Array, positive: Array) -> DeLong:
    """Compute the area of scores (cases,) for ``positive`` (cases,) bool, and its variance.

    The variance is NaN with fewer than two positive or two negative cases; without any of either, so is the area.

    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves: a nonparametric approach", Biometrics 44 (1988).

    >>> delong(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    DeLong(auc=0.75, variance=0.125)
    """
    upper = scores[positive]
    lower = scores[~positive]
    if not len(upper) or not len(lower):
        return DeLong(np.nan, np.nan)
    # The share of negative cases below each positive case, and of positive cases above each negative one; ties: half.
    below = percentileofscore(lower, upper, "mean") / 100
    above = 1 - percentileofscore(upper, lower, "mean") / 100
    area = float(below.mean())
    if min(len(upper), len(lower)) < 2:
        return DeLong(area, np.nan)
    return DeLong(area, float(below.var(ddof=1) / len(below) + above.var(ddof=1) / len(above)))
