"""The quality of a model's decisions: kappa, Matthews' correlation, accuracy, sensitivity, specificity and more."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from heatproof.component import Params
from heatproof.errors import ModelError
from heatproof.metric import Case, Metric
from heatproof.records import Array, Prediction
from heatproof_classification.labels import label_of
from heatproof_classification.positives import Positive, support

from .confusion import Weights, absolute_error, accuracy, kappa, matthews, rates, share

Cutoff = Annotated[float, Field(ge=-1e6, le=1e6)]


class GradingParams(Params):
    """How disagreements count in kappa; which classes are positive, and from which probability.

    Without ``positive`` the rates are means over the classes, each against the rest; without ``threshold`` a decision
    is positive when the decided class is. ``cutoffs`` are the values between the grades of an ordinal or regression
    head, on the scale of the grades; without them a value is rounded, which is the same as 0.5, 1.5, 2.5 and so on.
    """

    weights: Weights = "quadratic"
    positive: Positive | None = None
    threshold: float | None = Field(default=None, ge=-1e6, le=1e6)
    cutoffs: Annotated[tuple[Cutoff, ...], Field(min_length=1, max_length=100)] | None = None

    @field_validator("cutoffs")
    @classmethod
    def _ascending(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and list(value) != sorted({*value}):
            raise ValueError("should be in ascending order, each once")
        return value

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
        decision = prediction.decision
        if self.params.cutoffs is not None:
            decision = graded(prediction, self.params.cutoffs)
        matrices = {"confusion": _single(label, decision, len(prediction.classes))}
        if self.params.positive is None:
            return matrices
        # Called without a threshold too: it refuses unknown classes.
        probability = support(prediction, self.params.positive)
        positive = prediction.classes[decision] in self.params.positive
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


def graded(prediction: Prediction, cutoffs: Sequence[float]) -> int:
    """Count the cut-offs that the value of an ordinal or regression head reaches: its grade.

    Raises ``ModelError`` for another head, or a number of cut-offs that does not fit the grades.

    >>> value = Prediction(np.array([1.7]), ("no", "mild", "severe"), np.array([1.7]), 2, "regression")
    >>> graded(value, [0.5, 1.5]), graded(value, [0.5, 1.8])
    (2, 1)
    """
    grades = len(prediction.classes)
    if prediction.head not in ("ordinal", "regression"):
        head = prediction.head or "none of these"
        raise ModelError(
            f"cutoffs divide the value of an ordinal or regression head, not of {head}; leave cutoffs out."
        )
    if len(cutoffs) != grades - 1:
        raise ModelError(f"cutoffs has {len(cutoffs)} values, and {grades} grades have {grades - 1} between them.")
    value = float(prediction.probabilities[0])
    if prediction.head == "ordinal":
        value *= grades - 1
    return int(np.searchsorted(cutoffs, value, side="right"))


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
