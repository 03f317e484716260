"""The binary cross-entropy of several labels at once."""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from heatproof.component import Params
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof_objectives.objective import LOSS, Objective
from heatproof_objectives.step import Step


class MultiLabelParams(Params):
    """``positive_weight``: the weight of samples that have a class, one number for all classes or one per class."""

    positive_weight: Annotated[float, Field(gt=0, le=1e6)] | tuple[Annotated[float, Field(gt=0, le=1e6)], ...] = 1.0


class MultiLabel(Objective[MultiLabelParams]):
    """The mean over classes of the binary cross-entropy, for models with a sigmoid head of one output per class.

    A sample may have any number of labels, also none of the classes.
    """

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for another head, and for another number of weights than classes."""
        self.require_head(model, "sigmoid")
        weights = self.params.positive_weight
        if isinstance(weights, tuple) and len(weights) != len(model.classes):
            raise ModelError(
                f"positive_weight has {len(weights)} numbers, but {model.short} has {len(model.classes)} classes; "
                "give one number, or one per class."
            )

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return the binary cross-entropy."""
        logits = step.batch.explained(step.outputs)
        targets = step.indicators()
        if logits.shape != targets.shape:
            raise ModelError(
                f"{self.short} needs one output per class; {step.batch.model.short} has {logits.shape[1]} for "
                f"{targets.shape[1]} classes. Where two classes share an output, use cross_entropy."
            )
        weight = torch.as_tensor(self.params.positive_weight, dtype=logits.dtype, device=logits.device)
        return {LOSS: functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)}
