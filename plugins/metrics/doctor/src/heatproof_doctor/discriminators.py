"""How doubtful a distribution over classes makes its own decision.

Both statistics are 0 for certainty and C - 1 for C equal classes. They depend on ratios only, so that the weights
(class,) need not sum to one; written without 1 - p they keep apart decisions that are almost certain.
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
