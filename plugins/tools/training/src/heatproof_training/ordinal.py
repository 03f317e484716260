"""The ordinal squared error of Beckham and Pal."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from heatproof.component import Params
from heatproof.model import Model
from heatproof_objectives.objective import LOSS, Objective
from heatproof_objectives.step import Step


class OrdinalParams(Params):
    """The ``form``: ``sigmoid`` of a single output, or ``expectation`` of the grade under a softmax."""

    form: Literal["sigmoid", "expectation"] = "sigmoid"


class Ordinal(Objective[OrdinalParams]):
    """The squared error of a position on the scale of grades 0 to K - 1.

    ``sigmoid``: the mean of ((K - 1) sigmoid(z) - y)², for models with an ordinal head of one output z.
    ``expectation``: the mean of (sum of k softmax(h)[k] - y)², for models with a softmax head of K outputs h.

    Beckham and Pal, "A simple squared-error reformulation for ordinal classification", NIPS 2016 workshop on machine
    learning for health (arXiv 1612.00775).
    """

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a head that does not fit the form."""
        self.require_head(model, "ordinal" if self.params.form == "sigmoid" else "softmax")

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return the squared error of the position."""
        logits = step.batch.explained(step.outputs)
        if self.params.form == "sigmoid":
            positions = sigmoid_positions(logits[:, 0], len(step.batch.model.classes))
        else:
            positions = expected_positions(logits)
        return {LOSS: (positions - step.labels()).square().mean()}


def sigmoid_positions(logits: Tensor, classes: int) -> Tensor:
    """Return (K - 1) sigmoid(z) for logits z (n,).

    >>> sigmoid_positions(torch.tensor([0.0, 2.0, -1.0], dtype=torch.float64), 5).numpy().round(8).tolist()
    [2.0, 3.52318831, 1.07576569]
    """
    return (classes - 1) * logits.sigmoid()


def expected_positions(logits: Tensor) -> Tensor:
    """Return the expected grade (n,) under the softmax of logits (n, K).

    >>> expected_positions(torch.tensor([[0.0, 1, 2, 1, 0]])).tolist()
    [2.0]
    """
    grades = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)
    return logits.softmax(1) @ grades
