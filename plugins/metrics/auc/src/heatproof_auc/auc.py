"""The area under the ROC curve of a model's outputs."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from heatproof.component import Params
from heatproof.metric import Case, Metric
from heatproof.records import Array
from heatproof_classification.labels import labels_of
from heatproof_classification.positives import Positive, log_odds

from .ranks import auc


class AucParams(Params):
    """Which scores are ranked, and which classes are positive (None: each class against the rest).

    ``scores``: the probabilities of the model's head, or the ``sigmoid`` of each logit, both by their log odds.
    """

    scores: Literal["probabilities", "sigmoid"] = "probabilities"
    positive: Positive | None = None


class Auc(Metric[AucParams]):
    """How often does the model score a case of the class above a case of another class?

    The Mann-Whitney statistic, in which ties count half. Every class that dataset and model share has its own area, and
    ``auc`` is their plain mean; with ``positive``, ``auc`` is the area of these classes against all others. A resample
    that lacks a class has no value.

    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143 (1982).
    """

    revision = 2
    needs = frozenset({"prediction", "label"})
    primary = "auc"

    def names(self) -> Mapping[str, Collection[str]]:
        """Return the positive classes."""
        return {"classes": self.params.positive or ()}

    def measure(self, case: Case) -> dict[str, Array]:
        """Per measure (each class, or ``auc`` alone) the score and 1 for a positive case, else 0: (2,).

        The score is the log odds, since probabilities near 0 and 1 round to equal values.
        """
        prediction = case.prediction
        assert prediction is not None
        if self.params.scores == "sigmoid":
            prediction = replace(prediction, head="sigmoid")
        labels = {prediction.classes[index] for index in labels_of(case)}
        return {
            measure: np.array([log_odds(prediction, positive), not labels.isdisjoint(positive)], dtype=np.float64)
            for measure, positive in self._positives(case.classes, prediction.classes).items()
        }

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Compute ``auc`` and the area of each class per resample (r,); NaN where a class is absent."""
        areas = {name: auc(values[:, 0], values[:, 1], counts) for name, values in measurements.items()}
        return areas | {self.primary: np.mean(list(areas.values()), axis=0)}

    def exchangeable(self, measurements: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return ranks in place of the scores."""
        return {name: _ranked(values) for name, values in measurements.items()}

    def expected(self, measure: str) -> float:
        """Return one half for every measure."""
        return 0.5

    def _positives(self, labelled: Collection[str], predicted: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Map each measure to its positive classes."""
        if self.params.positive is not None:
            return {self.primary: self.params.positive}
        return {name: (name,) for name in predicted if name in labelled}


def _ranked(values: Array) -> Array:
    """Replace the scores of a class (cases, 2) by their ranks; equal scores share their mean rank."""
    return np.column_stack([rankdata(values[:, 0], nan_policy="omit"), values[:, 1]])
