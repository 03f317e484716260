"""The closed-form variance of an area under the ROC curve, intervals from it, and the test of two areas."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from scipy.stats import percentileofscore

from heatproof.metric import ClosedForm
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
    below, above = placements(scores, positive)
    area = float(below.mean())
    if min(len(upper), len(lower)) < 2:
        return DeLong(area, np.nan)
    return DeLong(area, float(below.var(ddof=1) / len(below) + above.var(ddof=1) / len(above)))


def placements(scores: Array, positive: Array) -> tuple[Array, Array]:
    """Compute the share of negative cases below each positive case (p,), and of positive ones above each negative (n,).

    Ties count half. ``positive`` (cases,) is bool.
    """
    upper = scores[positive]
    lower = scores[~positive]
    return percentileofscore(lower, upper, "mean") / 100, 1 - percentileofscore(upper, lower, "mean") / 100


def paired(first: Array, second: Array, positive: Array, patients: Sequence[str]) -> ClosedForm:
    """Test the areas of two scores (cases,) of the same cases, ``positive`` (cases,) bool; two-sided.

    With one case per patient it is DeLong's test, which takes cases as independent; otherwise that of Obuchowski for
    clusters of cases, here patients. They agree where there is one case per patient. p is NaN with fewer than two
    patients with positive, or with negative, cases, and where the difference has no variance; it is 1 for scores that
    rank all cases alike.

    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves: a nonparametric approach", Biometrics 44 (1988); Obuchowski, "Nonparametric analysis of
    clustered ROC curve data", Biometrics 53 (1997).

    >>> scores = np.array([0.1, 0.4, 0.35, 0.8, 0.6]), np.array([0.3, 0.5, 0.4, 0.7, 0.2])
    >>> test = paired(*scores, np.array([False, False, True, True, True]), list("abcde"))
    >>> test.name, round(test.p, 6)
    ('DeLong', 0.317311)
    """
    names, cluster = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    name = "DeLong" if len(names) == len(cluster) else "Obuchowski"
    clusters = [len(np.unique(cluster[kind])) for kind in (positive, ~positive)]
    if min(clusters) < 2:
        return ClosedForm(name, np.nan)
    gaps = [np.subtract(*pair) for pair in zip(placements(first, positive), placements(second, positive))]
    difference = float(gaps[0].mean())
    if not any(gap.any() for gap in gaps):
        return ClosedForm(name, 1.0)
    sums = [
        np.bincount(cluster[kind], gap - difference, len(names)) / len(gap)
        for kind, gap in zip((positive, ~positive), gaps)
    ]
    variance = sum(count / (count - 1) * float(values @ values) for count, values in zip(clusters, sums))
    variance += 2 * len(names) / (len(names) - 1) * float(sums[0] @ sums[1])
    if not variance > 0:
        return ClosedForm(name, np.nan)
    return ClosedForm(name, 2 * NormalDist().cdf(-abs(difference) / sqrt(variance)))
