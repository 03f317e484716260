"""Statistics of how doubtful the decision of a distribution over classes is.

Both are 0 for certainty and C - 1 for C equal classes. They depend on ratios only: the weights (class,) need not sum to
one. They avoid the difference 1 - p, whose rounding would make almost certain decisions equal.
"""

from collections.abc import Callable, Mapping

import numpy as np

from heatproof.records import Array


def alpha(weights: Array) -> float:
    """(1 - g) / g with g the sum of squared probabilities: the odds that two draws from it differ.

    >>> round(alpha(np.array([0.7, 0.2, 0.1])), 8)
    0.85185185
    """
    others = 1 - np.eye(len(weights))
    return float(weights @ others @ weights / (weights @ weights))


def beta(weights: Array) -> float:
    """(1 - p) / p with p the largest probability: the odds that the decision is wrong.

    >>> round(beta(np.array([0.7, 0.2, 0.1])), 8)
    0.42857143
    """
    ordered = np.sort(weights)
    return float(ordered[:-1].sum() / ordered[-1])


DISCRIMINATORS: Mapping[str, Callable[[Array], float]] = {"alpha": alpha, "beta": beta}
