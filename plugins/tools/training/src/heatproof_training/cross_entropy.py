"""The cross-entropy of the single class of a sample."""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from heatproof.component import Params
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof_objectives.objective import LOSS, Objective
from heatproof_objectives.step import Step


class CrossEntropyParams(Params):
    """``smoothing``: the share of the target that all classes get evenly (Szegedy et al. 2016)."""

    smoothing: float = Field(default=0.0, ge=0, lt=1)


class CrossEntropy(Objective[CrossEntropyParams]):
    """The mean of -log p of the labelled class, for samples with one label.

    p is the softmax of one output per class, or the sigmoid of the single output that two classes share.
    """

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for another head, and for a sigmoid head of more than two classes."""
        self.require_head(model, "softmax", "sigmoid")
        if model.head == "sigmoid" and len(model.classes) != 2:
            raise ModelError(
                f"{self.short} trains a sigmoid head only where two classes share its output; {model.short} has "
                f"{len(model.classes)} classes. Use multi_label, or a softmax head."
            )

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return the cross-entropy."""
        logits = step.batch.explained(step.outputs)
        labels = step.labels()
        smoothing = self.params.smoothing
        if step.batch.model.head == "softmax":
            return {LOSS: functional.cross_entropy(logits, labels, label_smoothing=smoothing)}
        if logits.shape[1] != 1:
            raise ModelError(
                f"{self.short} needs one output that two classes share; {step.batch.model.short} has "
                f"{logits.shape[1]}. Use multi_label, or a softmax head."
            )
        targets = labels.to(logits) * (1 - smoothing) + smoothing / 2
        return {LOSS: functional.binary_cross_entropy_with_logits(logits[:, 0], targets)}
