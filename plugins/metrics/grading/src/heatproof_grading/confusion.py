"""Kappa, accuracy and rates per class from confusion matrices (r, classes, classes), true class by decision.

scikit-learn computes them from the labels of one resample at a time.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from heatproof.records import Array

Weights = Literal["quadratic", "linear", "equal"]
POWERS: Mapping[Weights, int] = {"quadratic": 2, "linear": 1, "equal": 0}


def kappa(matrices: Array, weights: Weights = "quadratic") -> Array:
    """Compute Cohen's weighted kappa (r,) in [-1, 1]; NaN where all labels and decisions are one class.

    Cohen, "Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit",
    Psychological Bulletin 70 (1968).

    >>> kappa(np.array([[[2, 1], [0, 3]], [[0, 1], [1, 0]], [[4, 0], [0, 0]]])).round(4).tolist()
    [0.6667, -1.0, nan]
    """
    classes = np.arange(matrices.shape[-1])
    distances = np.abs(classes[:, None] - classes)
    costs = np.where(distances, distances.astype(np.float64) ** POWERS[weights], 0)
    observed = np.einsum("rij,ij->r", matrices, costs) * matrices.sum(axis=(1, 2))
    by_chance = np.einsum("ri,ij,rj->r", matrices.sum(axis=2), costs, matrices.sum(axis=1))
    return 1 - share(observed, by_chance)


def matthews(matrices: Array) -> Array:
    """Compute Matthews' correlation of labels and decisions (r,) in [-1, 1]; NaN where either are all of one class.

    For more than two classes it is Gorodkin's generalisation, as in ``sklearn.metrics.matthews_corrcoef`` (which
    returns 0 where it is undefined).

    Matthews, "Comparison of the predicted and observed secondary structure of T4 phage lysozyme", Biochimica et
    Biophysica Acta 405 (1975); Gorodkin, "Comparing two K-category assignments by a K-category correlation
    coefficient", Computational Biology and Chemistry 28 (2004).

    >>> matthews(np.array([[[6, 3], [1, 2]], [[4, 0], [0, 0]]])).round(4).tolist()
    [0.2928, nan]
    """
    labels = matrices.sum(axis=2)
    decisions = matrices.sum(axis=1)
    total = labels.sum(axis=1)
    covariance = np.trace(matrices, axis1=1, axis2=2) * total - (labels * decisions).sum(axis=1)
    variances = [total**2 - (counts**2).sum(axis=1) for counts in (labels, decisions)]
    return share(covariance, np.sqrt(variances[0]) * np.sqrt(variances[1]))


def accuracy(matrices: Array) -> Array:
    """Compute the share of right decisions (r,)."""
    return share(np.trace(matrices, axis1=1, axis2=2), matrices.sum(axis=(1, 2)))


def absolute_error(matrices: Array) -> Array:
    """Compute the mean distance (r,) of the decided class from the true one, in steps on the scale of classes.

    >>> absolute_error(np.array([[[2, 1, 1], [0, 3, 0], [0, 0, 1]]])).tolist()
    [0.375]
    """
    classes = np.arange(matrices.shape[-1])
    distances = np.abs(classes[:, None] - classes)
    return share(np.einsum("rij,ij->r", matrices, distances), matrices.sum(axis=(1, 2)))


def rates(matrices: Array) -> dict[str, Array]:
    """Compute sensitivity, specificity, precision and F1 of each class against the rest (r, classes); NaN for 0 / 0.

    >>> {name: values[0, 1].round(4).item() for name, values in rates(np.array([[[4, 2], [1, 3]]])).items()}
    {'sensitivity': 0.75, 'specificity': 0.6667, 'precision': 0.6, 'f1': 0.6667}
    """
    true_positives = np.diagonal(matrices, axis1=1, axis2=2)
    false_negatives = matrices.sum(axis=2) - true_positives
    false_positives = matrices.sum(axis=1) - true_positives
    true_negatives = matrices.sum(axis=(1, 2))[:, None] - true_positives - false_negatives - false_positives
    return {
        "sensitivity": share(true_positives, true_positives + false_negatives),
        "specificity": share(true_negatives, true_negatives + false_positives),
        "precision": share(true_positives, true_positives + false_positives),
        "f1": share(2 * true_positives, 2 * true_positives + false_negatives + false_positives),
    }


def share(part: Array, whole: Array) -> Array:
    """The quotient; NaN where the whole is zero."""
    quotient: Array = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return quotient
