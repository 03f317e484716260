"""DOCTOR: which decisions of a model to reject, judged by the model alone."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional

from heatproof.component import Params
from heatproof.metric import Case, Metric, Need, Undefined
from heatproof.model import Model
from heatproof.records import Array, Prediction
from heatproof_classification.labels import label_of

from .discriminators import DISCRIMINATORS
from .perturbed import perturbed_logits
from .rejection import auroc_and_curve, rates


class DoctorParams(Params):
    """How logits become a distribution over the classes, and ``gamma``, the statistic that a rejection exceeds.

    ``softmax`` divides the logits by ``temperature`` first; ``sigmoid`` normalises the sigmoids of the logits. The
    single logit of two classes has only one distribution, its sigmoid.

    With ``epsilon`` every pixel is first moved by this amount (in prepared units) along the sign of the statistic's
    gradient, ``towards`` more certainty or more doubt.
    """

    distribution: Literal["softmax", "sigmoid"] = "softmax"
    temperature: float = Field(1.0, gt=0, le=1e6)
    gamma: float = Field(1.0, ge=0, le=1e12)
    epsilon: float = Field(0.0, ge=0, le=1e6)
    towards: Literal["certainty", "doubt"] = "certainty"


class Doctor(Metric[DoctorParams]):
    """Do the outputs of a model tell which of its decisions are wrong?

    A decision is rejected when the odds that it is wrong, estimated from the outputs, exceed a threshold: ``alpha``
    from the sum of squared probabilities, ``beta`` from the largest one. Without ``epsilon`` they need only the outputs
    (totally black box), with it also the gradient with respect to the image (partially black box).

    Each statistic has its AUROC for wrong decisions; the shares of right (``frr``) and of wrong decisions (``trr``)
    rejected at ``gamma``; and the curve of the first share over the second, with its value at 95 % of wrong decisions.

    Granese et al., "DOCTOR: A simple method for detecting misclassification errors", NeurIPS (2021).
    """

    revision = 2
    primary = "alpha_auroc"
    opposite = frozenset({"alpha_frr", "alpha_frr_at_95", "beta_frr", "beta_frr_at_95"})

    @property
    def needs(self) -> frozenset[Need]:
        """Prediction and label; with ``epsilon`` also the model."""
        if self.params.epsilon:
            return frozenset({"prediction", "label", "model"})
        return frozenset({"prediction", "label"})

    def measure(self, case: Case) -> dict[str, float]:
        """Return ``alpha`` and ``beta`` in [0, classes - 1], and ``wrong``: 1 where the decision is not the label.

        Their logarithms ``log_alpha`` and ``log_beta`` are ranked, because the statistics themselves may underflow.
        """
        label = label_of(case)
        prediction = case.prediction
        assert prediction is not None
        self._require_distribution(prediction)
        logits = self._logits(case, prediction)
        logs = {
            name: float(statistic(self._logarithms(torch.from_numpy(logits[name])[None])))
            for name, statistic in DISCRIMINATORS.items()
        }
        return {
            **{name: float(np.exp(log)) for name, log in logs.items()},
            **{f"log_{name}": log for name, log in logs.items()},
            "wrong": float(prediction.decision != label),
        }

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Count with ``epsilon`` one forward for both statistics, and a backward and a forward for each."""
        if self.params.epsilon:
            return 3, 2
        return 0, 0

    def summarise(self, measurements: Mapping[str, Array], counts: Array) -> dict[str, Array]:
        """Compute auroc, frr, trr, frr_at_95 (r,) and curve (r, levels) of ``alpha`` and of ``beta``."""
        defined = ~np.isnan(np.stack(list(measurements.values()))).any(axis=0)
        wrong = measurements["wrong"][defined]
        counts = counts[:, defined]
        summary: dict[str, Array] = {}
        for name in DISCRIMINATORS:
            auroc, curve = auroc_and_curve(measurements[f"log_{name}"][defined], wrong, counts)
            frr, trr = rates(measurements[name][defined], wrong, counts, self.params.gamma)
            measures = {"auroc": auroc, "frr": frr, "trr": trr, "frr_at_95": curve[:, 95], "curve": curve}
            summary |= {f"{name}_{measure}": values for measure, values in measures.items()}
        return summary

    def exchangeable(self, measurements: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the ranks of what is ranked; the statistics themselves are only compared with ``gamma``."""
        ranks = {f"log_{name}": _ranks(measurements[f"log_{name}"]) for name in DISCRIMINATORS}
        return {**measurements, **ranks}

    def expected(self, measure: str) -> float | None:
        """Return one half for either AUROC, None for other measures."""
        if measure.endswith("_auroc"):
            return 0.5
        return None

    def _logits(self, case: Case, prediction: Prediction) -> Mapping[str, Array]:
        """The logits (class,) for each statistic."""
        if not self.params.epsilon:
            return dict.fromkeys(DISCRIMINATORS, np.asarray(prediction.logits, dtype=np.float64))
        assert case.batch is not None
        doubting = self.params.towards == "doubt"
        return perturbed_logits(case.batch, self._logarithms, self.params.epsilon, doubting)

    def _require_distribution(self, prediction: Prediction) -> None:
        count = len(prediction.logits)
        classes = len(prediction.classes)
        if classes < 2:
            raise Undefined("a decision for the only class cannot be doubted")
        if count != classes and (count, classes) != (1, 2):
            raise Undefined(f"one output for {classes} grades is not a distribution over them")

    def _logarithms(self, logits: Tensor) -> Tensor:
        """The distribution over the classes as log-probabilities (n, class)."""
        if self.params.distribution == "sigmoid" and logits.shape[1] > 1:
            return functional.logsigmoid(logits).log_softmax(1)
        if logits.shape[1] == 1:
            logits = functional.pad(logits, (1, 0))
        return (logits / self.params.temperature).log_softmax(1)


def _ranks(values: Array) -> Array:
    return np.asarray(rankdata(values, nan_policy="omit"))
