"""DOCTOR: which decisions of a model to reject, by its own outputs alone."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from salix.component import Params
from salix.metric import Case, Metric, Undefined
from salix.records import Array, Prediction

from .discriminators import DISCRIMINATORS
from .rejection import ranked, rates


class DoctorParams(Params):
    """How logits become a distribution over the classes, and the statistic above which a decision is rejected.

    ``softmax`` divides the logits by ``temperature`` first; ``sigmoid`` normalises each logit's own sigmoid. The single
    logit of two classes has one distribution only, its sigmoid.
    """

    distribution: Literal["softmax", "sigmoid"] = "softmax"
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    gamma: float = Field(1.0, ge=0)


class Doctor(Metric):
    """Do the model's own outputs tell which of its decisions are wrong?

    A decision is rejected when the odds that it is wrong, estimated from the outputs, exceed a threshold: ``alpha``
    from the sum of squared probabilities, ``beta`` from the largest one (totally black box: no input is perturbed).
    Each has the AUROC for wrong decisions, from ranks; the shares of right (``frr``) and of wrong decisions (``trr``)
    rejected at ``gamma``; and the curve of the first over the second, with its value where 95 % of the wrong ones are
    rejected.

    Granese et al., "DOCTOR: A simple method for detecting misclassification errors", NeurIPS (2021).
    """

    Params = DoctorParams
    params: DoctorParams
    needs = frozenset({"prediction", "label"})
    primary = "alpha_auroc"

    def measure(self, case: Case) -> dict[str, float]:
        """``alpha`` and ``beta`` in [0, classes - 1], and ``wrong``: 1 where the decision is not the label."""
        label, prediction = case.label(), case.prediction
        assert prediction is not None
        weights = self._weights(prediction)
        statistics = {name: statistic(weights) for name, statistic in DISCRIMINATORS.items()}
        return statistics | {"wrong": float(prediction.decision != label)}

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Of ``alpha`` and ``beta`` each: auroc, frr, trr, frr_at_95 (r,) and curve (r, levels)."""
        known = ~np.isnan(np.stack(list(measurements.values()))).any(axis=0)
        wrong, counts = measurements["wrong"][known], counts[:, known]
        summary: dict[str, Array] = {}
        for name in DISCRIMINATORS:
            statistic = measurements[name][known]
            auroc, curve = ranked(statistic, wrong, counts)
            frr, trr = rates(statistic, wrong, counts, self.params.gamma)
            found = {"auroc": auroc, "frr": frr, "trr": trr, "frr_at_95": curve[:, 95], "curve": curve}
            summary |= {f"{name}_{measure}": values for measure, values in found.items()}
        return summary

    def expected(self, measure: str) -> float | None:
        """One half for the AUROC of statistics that know nothing."""
        return 0.5 if measure.endswith("_auroc") else None

    def _weights(self, prediction: Prediction) -> Array:
        """The distribution over the classes (class,), up to a factor."""
        logits, classes = np.asarray(prediction.logits, dtype=np.float64), len(prediction.classes)
        single = len(logits) == 1 and classes == 2
        if len(logits) != classes and not single:
            raise Undefined(f"one output for {classes} grades is no distribution over them")
        if self.params.distribution == "sigmoid" and not single:
            return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))
        scaled = (np.array([0.0, logits[0]]) if single else logits) / self.params.temperature
        return np.asarray(np.exp(scaled - scaled.max()))
