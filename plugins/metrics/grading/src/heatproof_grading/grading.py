"""How good a model's decisions are: kappa, accuracy, sensitivity, specificity, precision and F1."""

from collections.abc import Mapping
from typing import Self

import numpy as np
from pydantic import model_validator

from heatproof.component import Params
from heatproof.metric import Case, Metric
from heatproof.records import Array
from heatproof_classification.labels import label_of
from heatproof_classification.positives import Positive, support

from .confusion import Weights, accuracy, kappa, rates, share


class GradingParams(Params):
    """How disagreements count in kappa; which classes are positive, and from which probability on.

    Without ``positive`` the rates are means over the classes, each against the rest; without ``threshold`` a decision
    is positive when the decided class is.
    """

    weights: Weights = "quadratic"
    positive: Positive | None = None
    threshold: float | None = None

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if self.threshold is not None and self.positive is None:
            raise ValueError("a threshold needs positive: the classes to which it applies")
        return self


class Grading(Metric[GradingParams]):
    """How often, and by how much, do the model's decisions miss the label?

    Everything follows from confusion matrices. ``kappa`` is over all classes in their order and weighs a miss by its
    squared distance; ``accuracy``, ``sensitivity``, ``specificity``, ``precision`` and ``f1`` are those of the positive
    classes against the others, or means over the classes. What has no denominator is NaN, never 0.

    Cohen, "Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit",
    Psychological Bulletin 70 (1968).
    """

    needs = frozenset({"prediction", "label"})
    primary = "kappa"

    def measure(self, case: Case) -> dict[str, Array]:
        """``confusion`` (classes, classes) and, with positive classes, ``binary`` (2, 2): one at label and decision."""
        assert case.prediction is not None
        label, prediction = label_of(case), case.prediction
        measured = {"confusion": _single(label, prediction.decision, len(prediction.classes))}
        if self.params.positive is None:
            return measured
        spoken = support(prediction, self.params.positive)
        decided = prediction.classes[prediction.decision] in self.params.positive
        if self.params.threshold is not None:
            decided = spoken >= self.params.threshold
        return measured | {"binary": _single(prediction.classes[label] in self.params.positive, decided, 2)}

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Every measure per resample (r,), and the confusion matrix (r, classes * classes) as shares of its cases."""
        matrices = {name: _summed(cases, counts) for name, cases in measurements.items()}
        asked = matrices.get("binary", matrices["confusion"])
        positive = [1] if "binary" in matrices else slice(None)
        return {
            "kappa": kappa(matrices["confusion"], self.params.weights),
            "accuracy": accuracy(asked),
            **{name: values[:, positive].mean(axis=1) for name, values in rates(asked).items()},
            "confusion": _shares(matrices["confusion"]),
        }

    def expected(self, measure: str) -> float | None:
        """Kappa is 0 when decisions and labels have nothing to do with each other."""
        return 0.0 if measure == "kappa" else None


def _single(label: int, decision: int, classes: int) -> Array:
    """The confusion matrix of one case."""
    matrix = np.zeros((classes, classes))
    matrix[int(label), int(decision)] = 1
    return matrix


def _summed(cases: Array, counts: Array) -> Array:
    """The confusion matrices (r, classes, classes) of resamples; cases with NaN are left out.

    The store returns a case's matrix as a row.
    """
    flat = np.reshape(cases, (len(cases), -1))
    classes = round(flat.shape[1] ** 0.5)
    known = ~np.isnan(flat).any(axis=1)
    summed: Array = counts[:, known].astype(np.float64) @ flat[known]
    return summed.reshape(len(counts), classes, classes)


def _shares(matrices: Array) -> Array:
    """Confusion matrices as rows (r, classes * classes) that sum to one."""
    flat = matrices.reshape(len(matrices), -1)
    return share(flat, np.broadcast_to(flat.sum(axis=1, keepdims=True), flat.shape))
