"""DOCTOR: which decisions of a model to reject, by its own outputs alone."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from heatproof.component import Params
from heatproof.metric import Case, Metric, Need, Undefined
from heatproof.model import Model
from heatproof.records import Array, Prediction
from heatproof_classification.labels import label_of

from .discriminators import DISCRIMINATORS
from .perturbed import perturbed_logits
from .rejection import ranked, rates


class DoctorParams(Params):
    """How logits become a distribution over the classes, and the statistic above which a decision is rejected.

    ``softmax`` divides the logits by ``temperature`` first; ``sigmoid`` normalises each logit's own sigmoid. The single
    logit of two classes has one distribution only, its sigmoid.

    With ``epsilon`` each statistic is that of an image moved by so much (in prepared units) in every pixel, by the
    sign of the statistic's gradient, ``towards`` more certainty or more doubt.
    """

    distribution: Literal["softmax", "sigmoid"] = "softmax"
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    gamma: float = Field(1.0, ge=0)
    epsilon: float = Field(0.0, ge=0, allow_inf_nan=False)
    towards: Literal["certainty", "doubt"] = "certainty"


class Doctor(Metric[DoctorParams]):
    """Do the model's own outputs tell which of its decisions are wrong?

    A decision is rejected when the odds that it is wrong, estimated from the outputs, exceed a threshold: ``alpha``
    from the sum of squared probabilities, ``beta`` from the largest one. Without ``epsilon`` only the outputs are asked
    for (totally black box), with it also the gradient by the image (partially black box).
    Each has the AUROC for wrong decisions, from ranks; the shares of right (``frr``) and of wrong decisions (``trr``)
    rejected at ``gamma``; and the curve of the first over the second, with its value where 95 % of the wrong ones are
    rejected.

    Granese et al., "DOCTOR: A simple method for detecting misclassification errors", NeurIPS (2021).
    """

    primary = "alpha_auroc"
    opposite = frozenset({"alpha_frr", "alpha_frr_at_95", "beta_frr", "beta_frr_at_95"})

    @property
    def needs(self) -> frozenset[Need]:
        """The model only where images are moved."""
        return frozenset({"prediction", "label", "model"} if self.params.epsilon else {"prediction", "label"})

    def measure(self, case: Case) -> dict[str, float]:
        """``alpha`` and ``beta`` in [0, classes - 1], and ``wrong``: 1 where the decision is not the label."""
        label, prediction = label_of(case), case.prediction
        assert prediction is not None
        self._require_distribution(prediction)
        logits = self._logits(case, prediction)
        statistics = {name: statistic(self._weights(logits[name])) for name, statistic in DISCRIMINATORS.items()}
        return statistics | {"wrong": float(prediction.decision != label)}

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """With ``epsilon`` a forward for both statistics, and a backward and a forward for each."""
        return (3, 2) if self.params.epsilon else (0, 0)

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

    def _logits(self, case: Case, prediction: Prediction) -> Mapping[str, Array]:
        """The logits that each statistic is taken of."""
        if not self.params.epsilon:
            return dict.fromkeys(DISCRIMINATORS, np.asarray(prediction.logits, dtype=np.float64))
        assert case.batch is not None
        away = self.params.towards == "doubt"
        return perturbed_logits(case.batch, self._logarithms, self.params.epsilon, away)

    def _require_distribution(self, prediction: Prediction) -> None:
        count, classes = len(prediction.logits), len(prediction.classes)
        if count != classes and (count, classes) != (1, 2):
            raise Undefined(f"one output for {classes} grades is no distribution over them")

    def _weights(self, logits: Array) -> Array:
        """The distribution over the classes (class,), up to a factor."""
        if self.params.distribution == "sigmoid" and len(logits) > 1:
            return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))
        scaled = (np.array([0.0, logits[0]]) if len(logits) == 1 else logits) / self.params.temperature
        return np.asarray(np.exp(scaled - scaled.max()))

    def _logarithms(self, logits: Tensor) -> Tensor:
        """The same distribution as log-probabilities (n, class)."""
        if self.params.distribution == "sigmoid" and logits.shape[1] > 1:
            return functional.logsigmoid(logits).log_softmax(1)
        scaled = functional.pad(logits, (1, 0)) if logits.shape[1] == 1 else logits
        return (scaled / self.params.temperature).log_softmax(1)
