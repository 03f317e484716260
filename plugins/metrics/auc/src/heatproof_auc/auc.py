"""The area under the ROC curve of a model's outputs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.stats import rankdata

from heatproof.component import Params
from heatproof.metric import Case, ClosedForm, Metric
from heatproof.records import Array
from heatproof_classification.labels import label_of, labels_of
from heatproof_classification.positives import Positive, log_odds

from .averages import average, pairs, pooled, shares_of_classes, shares_of_pairs
from .delong import paired
from .partial import partial_auc
from .ranks import auc


class AucParams(Params):
    """Which scores are ranked, and which classes are positive (None: each class against the rest).

    ``scores``: the probabilities of the model's head, or the ``sigmoid`` of each logit, both by their log odds.

    The further settings do what their namesakes of ``sklearn.metrics.roc_auc_score`` do. ``average``: the plain mean
    of the areas (``macro``), their mean weighted by the number of cases (``weighted``), or one area of all classes
    together (``micro``). ``against``: each class against the ``rest``, or against each other class in turn (``pairs``,
    Hand and Till 2001; ``multi_class="ovo"`` there). ``max_fpr``: only the part of the curve up to this false positive
    rate, standardised to 0.5 for chance and 1 at best (McClish 1989).
    """

    scores: Literal["probabilities", "sigmoid"] = "probabilities"
    positive: Positive | None = None
    average: Literal["macro", "weighted", "micro"] = "macro"
    against: Literal["rest", "pairs"] = "rest"
    max_fpr: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if self.positive is not None and (self.average, self.against) != ("macro", "rest"):
            raise ValueError("with positive there is one area: remove average and against, or positive")
        if self.against == "pairs" and (self.average == "micro" or self.max_fpr is not None):
            raise ValueError("pairs have neither a micro average nor a max_fpr: use against: rest")
        return self


class Auc(Metric[AucParams]):
    """How often does the model score a case of the class above a case of another class?

    The Mann-Whitney statistic, in which ties count half. Every class that dataset and model share (or every pair of
    them) has its own area, and ``auc`` is their average; with ``positive``, ``auc`` is the area of these classes
    against all others. A resample that lacks a class has no value.

    Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
    Radiology 143 (1982); pairs of classes: Hand and Till, "A simple generalisation of the area under the ROC curve for
    multiple class classification problems", Machine Learning 45 (2001); part of the curve: McClish, "Analyzing a
    portion of the ROC curve", Medical Decision Making 9 (1989).
    """

    revision = 2
    needs = frozenset({"prediction", "label"})
    primary = "auc"

    def names(self) -> Mapping[str, Collection[str]]:
        """Return the positive classes."""
        return {"classes": self.params.positive or ()}

    def measure(self, case: Case) -> dict[str, Array]:
        """Per measure (each class, or ``auc`` alone) the score and 1 for a positive case, else 0: (2,).

        The score is the log odds, since probabilities near 0 and 1 round to equal values. Raises ``Undefined`` for a
        sample without a label, and in pairs of classes for one with several.
        """
        prediction = case.prediction
        assert prediction is not None
        indices = labels_of(case)
        if self.params.against == "pairs":
            indices = (label_of(case),)
        if self.params.scores == "sigmoid":
            prediction = replace(prediction, head="sigmoid")
        labels = {prediction.classes[index] for index in indices}
        return {
            measure: np.array([log_odds(prediction, positive), not labels.isdisjoint(positive)], dtype=np.float64)
            for measure, positive in self._positives(case.classes, prediction.classes).items()
        }

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Compute ``auc`` and the area of each class, or pair of classes, per resample (r,); NaN without a class."""
        areas = self._areas(measurements, counts)
        return areas | {self.primary: self._average(areas, measurements, counts)}

    def _average(self, areas: Mapping[str, Array], measurements: Mapping[str, Array], counts: Array) -> Array:
        """Compute the average (r,) of the areas of all classes, or pairs of classes."""
        if self.params.average == "micro":
            return pooled(measurements, counts, self._area)
        if self.params.average == "macro":
            return average(areas)
        shares = {"rest": shares_of_classes, "pairs": shares_of_pairs}[self.params.against]
        return average(areas, shares(measurements, counts))

    def _areas(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Compute the area (r,) of each class, or of each pair of classes."""
        if self.params.against == "pairs":
            return pairs(measurements, counts)
        return {name: self._area(values, counts) for name, values in measurements.items()}

    def _area(self, values: Array, counts: Array) -> Array:
        """Compute the area (r,) of scores and positive cases (cases, 2), or of a part of its curve."""
        if self.params.max_fpr is None:
            return auc(values[:, 0], values[:, 1], counts)
        return partial_auc(values[:, 0], values[:, 1], counts, self.params.max_fpr)

    def exchangeable(self, measurements: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return ranks in place of the scores: within each class, or of all classes together for ``micro``."""
        if self.params.average != "micro":
            return {name: _ranked(values) for name, values in measurements.items()}
        ranked = _ranked(np.concatenate(list(measurements.values())))
        return dict(zip(measurements, np.split(ranked, len(measurements))))

    def closed_form(self, a: Mapping[str, Array], b: Mapping[str, Array], patients: Sequence[str]) -> ClosedForm | None:
        """Test two models by DeLong's test, or Obuchowski's for patients with several cases; None for several areas."""
        measure = next(iter(a))
        if self.params.max_fpr is not None or not all(self._has_one_area(side) for side in (a, b)):
            return None
        return paired(a[measure][:, 0], b[measure][:, 0], a[measure][:, 1] == 1, patients)

    def _has_one_area(self, measurements: Mapping[str, Array]) -> bool:
        """Tell whether ``auc`` is a single area: of one class, or of two that mirror each other."""
        if len(measurements) != 2:
            return len(measurements) == 1
        first, second = measurements.values()
        mirrored = rankdata(first[:, 0]) + rankdata(second[:, 0]) == len(first) + 1
        return self.params.average != "micro" and bool(mirrored.all() and (first[:, 1] + second[:, 1] == 1).all())

    def expected(self, measure: str) -> float | None:
        """Return one half; None for a part of the curve, whose expected value depends on the number of cases."""
        return 0.5 if self.params.max_fpr is None else None

    def _positives(self, labelled: Collection[str], predicted: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Map each measure to its positive classes."""
        if self.params.positive is not None:
            return {self.primary: self.params.positive}
        return {name: (name,) for name in predicted if name in labelled}


def _ranked(values: Array) -> Array:
    """Replace the scores of a class (cases, 2) by their ranks; equal scores share their mean rank."""
    return np.column_stack([rankdata(values[:, 0], nan_policy="omit"), values[:, 1]])
