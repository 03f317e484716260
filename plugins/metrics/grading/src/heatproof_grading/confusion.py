"""What confusion matrices (r, classes, classes), true class by decision, tell: kappa, accuracy and rates per class."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from heatproof.records import Array

Weights = Literal["quadratic", "linear", "equal"]
POWERS: Mapping[Weights, int] = {"quadratic": 2, "linear": 1, "equal": 0}


def kappa(matrices: Array, weights: Weights = "quadratic") -> Array:
    """Cohen's weighted kappa (r,) in [-1, 1]; NaN where all cases have one class, and get it.

    Cohen, "Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit",
    Psychological Bulletin 70 (1968).

    >>> kappa(np.array([[[2, 1], [0, 3]], [[0, 1], [1, 0]], [[4, 0], [0, 0]]])).round(4).tolist()
    [0.6667, -1.0, nan]
    """
    classes = np.arange(matrices.shape[-1])
    distances = np.abs(classes[:, None] - classes)
    costs = np.where(distances, distances.astype(np.float64) ** POWERS[weights], 0)
    seen = np.einsum("rij,ij->r", matrices, costs) * matrices.sum(axis=(1, 2))
    by_chance = np.einsum("ri,ij,rj->r", matrices.sum(axis=2), costs, matrices.sum(axis=1))
    return 1 - share(seen, by_chance)


def accuracy(matrices: Array) -> Array:
    """The share of right decisions (r,)."""
    return share(np.trace(matrices, axis1=1, axis2=2), matrices.sum(axis=(1, 2)))


def rates(matrices: Array) -> dict[str, Array]:
    """Sensitivity, specificity, precision and F1 of each class against the rest (r, classes); NaN where 0 / 0.

    >>> {name: values[0, 1].round(4).item() for name, values in rates(np.array([[[4, 2], [1, 3]]])).items()}
    {'sensitivity': 0.75, 'specificity': 0.6667, 'precision': 0.6, 'f1': 0.6667}
    """
    found = np.diagonal(matrices, axis1=1, axis2=2)
    missed, alarms = matrices.sum(axis=2) - found, matrices.sum(axis=1) - found
    spared = matrices.sum(axis=(1, 2))[:, None] - found - missed - alarms
    return {
        "sensitivity": share(found, found + missed),
        "specificity": share(spared, spared + alarms),
        "precision": share(found, found + alarms),
        "f1": share(2 * found, 2 * found + missed + alarms),
    }


def share(part: Array, whole: Array) -> Array:
    """The quotient; NaN where the whole is zero."""
    quotient: Array = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return quotient
