"""The quality of a model's decisions: kappa, Matthews' correlation, accuracy, sensitivity, specificity and more."""

from collections.abc import Collection, Mapping
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from heatproof.component import Params
from heatproof.metric import Case, Metric
from heatproof.records import Array
from heatproof_classification.labels import label_of
from heatproof_classification.positives import Positive, support

from .confusion import Weights, absolute_error, accuracy, kappa, matthews, rates, share


class GradingParams(Params):
    """How disagreements count in kappa; which classes are positive, and from which probability.

    Without ``positive`` the rates are means over the classes, each against the rest; without ``threshold`` a decision
    is positive when the decided class is.
    """

    weights: Weights = "quadratic"
    positive: Positive | None = None
    threshold: float | None = Field(default=None, ge=-1e6, le=1e6)

    @model_validator(mode="after")
    def _threshold_has_classes(self) -> Self:
        if self.threshold is not None and self.positive is None:
            raise ValueError("a threshold needs positive: the classes to which it applies")
        return self


class Grading(Metric[GradingParams]):
    """How often, and by how much, do the model's decisions miss the label?

    All measures follow from confusion matrices. ``kappa`` is over all classes in their order and weights a miss, by
    default, by its squared distance; ``mean_absolute_error`` is the mean of the distance, in classes. ``matthews`` and
    ``accuracy`` are of the positive classes against the others, or of all classes; so are ``sensitivity``,
    ``specificity``, ``precision`` and ``f1``, or they are means over the classes. A measure without denominator is NaN,
    never 0.

    Cohen, "Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit",
    Psychological Bulletin 70 (1968); Gorodkin, "Comparing two K-category assignments by a K-category correlation
    coefficient", Computational Biology and Chemistry 28 (2004).
    """

    needs = frozenset({"prediction", "label"})
    primary = "kappa"
    opposite = frozenset({"mean_absolute_error"})

    def names(self) -> Mapping[str, Collection[str]]:
        """Return the positive classes."""
        return {"classes": self.params.positive or ()}

    def measure(self, case: Case) -> dict[str, Array]:
        """Return ``confusion`` (classes, classes) and, with ``positive``, ``binary`` (2, 2): 1 at label, decision."""
        prediction = case.prediction
        assert prediction is not None
        label = label_of(case)
        matrices = {"confusion": _single(label, prediction.decision, len(prediction.classes))}
        if self.params.positive is None:
            return matrices
        # Called without a threshold too: it refuses unknown classes.
        probability = support(prediction, self.params.positive)
        positive = prediction.classes[prediction.decision] in self.params.positive
        if self.params.threshold is not None:
            positive = probability >= self.params.threshold
        return matrices | {"binary": _single(prediction.classes[label] in self.params.positive, positive, 2)}

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Compute every measure per resample (r,), and the shares of cases in ``confusion`` (r, classes * classes)."""
        confusion = _summed(measurements["confusion"], counts)
        decisions = confusion
        positive = slice(None)
        if "binary" in measurements:
            decisions = _summed(measurements["binary"], counts)
            positive = slice(1, 2)
        return {
            "kappa": kappa(confusion, self.params.weights),
            "matthews": matthews(decisions),
            "accuracy": accuracy(decisions),
            "mean_absolute_error": absolute_error(confusion),
            **{name: values[:, positive].mean(axis=1) for name, values in rates(decisions).items()},
            "confusion": _shares(confusion),
        }

    def expected(self, measure: str) -> float | None:
        """Return 0 for ``kappa`` and ``matthews``, for independent labels and decisions; None for other measures."""
        return {"kappa": 0.0, "matthews": 0.0}.get(measure)


def _single(label: int, decision: int, classes: int) -> Array:
    """Build the confusion matrix of a single case."""
    matrix = np.zeros((classes, classes))
    matrix[int(label), int(decision)] = 1
    return matrix


def _summed(cases: Array, counts: Array) -> Array:
    """Sum confusion matrices over the cases of each resample (r, classes, classes); cases with NaN are left out.

    The matrix of a case is a row when it comes from the store.
    """
    flat = np.reshape(cases, (len(cases), -1))
    classes = round(flat.shape[1] ** 0.5)
    defined = ~np.isnan(flat).any(axis=1)
    matrices: Array = counts[:, defined].astype(np.float64) @ flat[defined]
    return matrices.reshape(len(counts), classes, classes)


def _shares(matrices: Array) -> Array:
    """Turn confusion matrices into rows (r, classes * classes) that sum to one."""
    flat = matrices.reshape(len(matrices), -1)
    return share(flat, np.broadcast_to(flat.sum(axis=1, keepdims=True), flat.shape))
