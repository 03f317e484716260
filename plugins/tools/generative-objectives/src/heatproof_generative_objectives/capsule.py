"""The loss of capsule networks whose capsules are attributes that radiologists score."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.records import Array
from heatproof_objectives.step import Step

from .autoencoder import Reconstructing, ReconstructionParams
from .scores import fitted, scores_of


class CapsuleParams(ReconstructionParams):
    """The scores of the readers, and the weights of the three parts.

    ``scores``: the extra that maps each attribute to the scores of its readers, as ``lidc`` has. ``diagnosis``: the
    attribute of the model's classes, the scores 1, 2 …; ``attributes``: those of the output ``capsules``, in order.
    ``attribute_weight``: that of each attribute. ``reconstruction_weight``: that of the reconstruction of what is
    inside the mask of ``finding``, or, without a finding, of the whole image; 0.512 is 0.0005 per pixel of 32 × 32.
    """

    scores: str = "scores"
    diagnosis: str = "malignancy"
    attributes: tuple[str, ...] = (
        "subtlety", "sphericity", "margin", "lobulation", "spiculation", "texture",
    )  # fmt: skip
    capsules: str = "attributes"
    attribute_weight: float = Field(default=1.0, ge=0, le=1e12)
    reconstruction_weight: float = Field(default=0.512, ge=0, le=1e12)
    finding: str | None = "nodule"


class Capsule(Reconstructing[CapsuleParams]):
    """KL(scores of the diagnosis ‖ classes) + weight · Σ MSE(attributes) + 0.512 · MSE(reconstruction of the nodule).

    LaLonde et al. 2020, "Encoding Visual Attributes in Capsules for Explainable Medical Diagnoses", MICCAI, and the
    authors' code, whose weights are the defaults. The distribution of the diagnosis is a Gaussian with the mean and the
    standard deviation of the readers' scores; the target of an attribute is its mean score, scaled from 1 … K to 0 … 1
    for K classes. The target of the reconstruction is the image times the mask, in which several readers are united.
    Logged as ``diagnosis``, ``attributes`` and ``reconstruction``.
    """

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model without the outputs, or with other attributes."""
        super().require(model)
        self.require_output(model, self.params.capsules)
        self.require_head(model, "softmax")
        names = getattr(model, "attribute_names", self.params.attributes)
        if tuple(names) != self.params.attributes:
            raise ModelError(
                f"{model.short} has the attributes {', '.join(names)}; {self.short} trains "
                f"{', '.join(self.params.attributes)}: set attributes to those of the model."
            )

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return ``loss`` and its three parts; raises ``DataError`` for a sample without scores or mask."""
        diagnosis = self._divergence(step)
        attributes = self._attribute_error(step)
        target = step.batch.images
        if self.params.finding is not None:
            target = target * step.mask(self.params.finding)
        error = self.errors(step, target).mean()
        loss = diagnosis + self.params.attribute_weight * attributes + self.params.reconstruction_weight * error
        return {"loss": loss, "diagnosis": diagnosis, "attributes": attributes, "reconstruction": error}

    def _divergence(self, step: Step) -> Tensor:
        """The mean divergence of the classes from the readers' scores, in nats."""
        logits = step.batch.explained(step.outputs)
        classes = len(step.batch.model.classes)
        shares = self._scored(step, (self.params.diagnosis,), partial(fitted, classes=classes)).to(logits)[:, 0]
        return functional.kl_div(logits.log_softmax(1), shares, reduction="batchmean")

    def _attribute_error(self, step: Step) -> Tensor:
        """The sum over the attributes of their mean squared error."""
        values = step.outputs[self.params.capsules]
        shape = (len(step.batch), len(self.params.attributes))
        if tuple(values.shape) != shape:
            raise ModelError(
                f"the output {self.params.capsules!r} of {step.batch.model.short} has shape {tuple(values.shape)}; "
                f"{self.short} has {shape[1]} attributes, so it should be {shape}."
            )
        means = self._scored(step, self.params.attributes, np.mean).to(values)
        targets = (means - 1) / (len(step.batch.model.classes) - 1)
        return (values - targets).square().mean(0).sum()

    def _scored(self, step: Step, names: tuple[str, ...], summary: Callable[[Array], Any]) -> Tensor:
        """The summary of the readers' scores of every sample and attribute (n, attribute, …)."""
        highest = len(step.batch.model.classes)
        rows = [
            [summary(scores_of(sample, self.params.scores, name, highest)) for name in names] for sample in step.samples
        ]
        return torch.from_numpy(np.asarray(rows))
