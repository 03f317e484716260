"""The squared error of a linear output."""

from collections.abc import Mapping

from torch import Tensor

from heatproof.model import Model
from heatproof_objectives.objective import LOSS, Objective
from heatproof_objectives.step import Step


class Regression(Objective):
    """The mean of (z - y)², for models with a regression head: one linear output z on the scale of the grades y."""

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for another head."""
        self.require_head(model, "regression")

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return the mean squared error."""
        return {LOSS: (step.batch.explained(step.outputs)[:, 0] - step.labels()).square().mean()}
