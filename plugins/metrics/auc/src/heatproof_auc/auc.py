"""The area under the ROC curve of a model's outputs."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from heatproof.component import Params
from heatproof.metric import Case, Metric
from heatproof.records import Array, Prediction
from heatproof_classification.labels import labels_of
from heatproof_classification.positives import Positive, support

from .ranks import auc


class AucParams(Params):
    """What is ranked, and which classes are positive; none: each class against the rest.

    ``scores``: the probabilities that the model's head makes of the logits, or each logit's own ``sigmoid``.
    """

    scores: Literal["probabilities", "sigmoid"] = "probabilities"
    positive: Positive | None = None


class Auc(Metric[AucParams]):
    """How often does the model score a case that has the class above one that has not?

    The Mann-Whitney statistic with ties counting half, from the ranks of each class's output. ``auc`` is the plain mean
    over the classes that dataset and model share, each of which also has a value of its own; with ``positive`` it is
    the area of these classes against all others. A resample that lacks a class has no value.

    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143 (1982).
    """

    needs = frozenset({"prediction", "label"})
    primary = "auc"

    def measure(self, case: Case) -> dict[str, Array]:
        """The score of each class, or of ``auc`` alone, and whether the case is positive (2,)."""
        assert case.prediction is not None
        prediction, classes = self._scored(case.prediction), case.prediction.classes
        found = {classes[index] for index in labels_of(case)}
        return {
            measure: np.array([support(prediction, positive), bool(found.intersection(positive))], dtype=np.float64)
            for measure, positive in self._questions(case.classes, classes).items()
        }

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """``auc`` and each class's own area per resample (r,); NaN where one class is absent."""
        areas = {name: auc(values[:, 0], values[:, 1], counts) for name, values in measurements.items()}
        return areas | {self.primary: np.mean(list(areas.values()), axis=0)}

    def expected(self, measure: str) -> float:
        """One half, whatever the classes."""
        return 0.5

    def _scored(self, prediction: Prediction) -> Prediction:
        if self.params.scores == "probabilities":
            return prediction
        logits = np.asarray(prediction.logits, dtype=np.float64)
        return replace(prediction, probabilities=0.5 * (1 + np.tanh(0.5 * logits)))

    def _questions(self, known: Collection[str], classes: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Measure → the classes that are positive for it."""
        if self.params.positive is not None:
            return {self.primary: self.params.positive}
        return {name: (name,) for name in classes if name in known}
