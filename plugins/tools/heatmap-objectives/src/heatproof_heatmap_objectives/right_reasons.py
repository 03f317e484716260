"""Right for the right reasons: a penalty on what the explanation shows outside of the annotated mask."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import derivatives, leaf
from heatproof_objectives.step import Step, evaluating

from .additional import Additional, HeatmapTermParams
from .annotated import targets
from .maps import explained

LOGARITHMS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: functional.log_softmax(logits, 1),
    "sigmoid": lambda logits: functional.logsigmoid(logits) + functional.logsigmoid(-logits),
}
"""Head → the log probabilities (n, logit) from logits; of a sigmoid unit, those of both its answers together."""


class RightReasonsParams(HeatmapTermParams):
    """How the explanation is computed.

    ``explainer``: any with the trait ``differentiable``; without it, the gradient of the sum of all classes' log
    probabilities, as in the paper. The ``weight`` should make the penalty about as large as the loss of the base in
    the first epochs; it depends on the scale of the images.
    """

    explainer: Explainer | None = None


class RightReasons(Additional[RightReasonsParams]):
    """The loss of the base + weight · mean over samples of Σ ((1 - M) e)², for a mask M and an explanation e.

    Ross, Hughes and Doshi-Velez 2017, "Right for the Right Reasons: Training Differentiable Models by Constraining
    their Explanations", IJCAI, with cross_entropy as base: e is the gradient of the sum of all classes' log
    probabilities by the image, and the sum is over all pixels and channels. With ``explainer``, e is its explanation of
    the label. Images whose mask is empty have no penalty: they say nothing about where the reason of their class is.
    Logged as ``base`` and ``reasons``.
    """

    term_name = "reasons"

    @property
    def explainer(self) -> Explainer | None:
        """The explainer whose explanations are penalised; None for the gradient of log probabilities."""
        return self.params.explainer

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model without probabilities of classes, or on which the explainer is undefined."""
        super().require(model)
        if self.explainer is None:
            self.require_head(model, *LOGARITHMS)

    def term(self, step: Step) -> Tensor:
        """The mean penalty; raises ``DataError`` for a sample without mask or, with an explainer, label."""
        masks = targets(step, self.params).marked()
        outside = (1 - masks.maps) * self._explanation(step)
        return masks.mean(outside.square().flatten(1).sum(1))

    def _explanation(self, step: Step) -> Tensor:
        """The explanations (n, c or 1, *space) with their graph, in evaluation mode."""
        if self.explainer is not None:
            return explained(self.explainer, step)
        with evaluating(step.batch.model.network):
            return log_gradient(step.batch)


def log_gradient(batch: Batch) -> Tensor:
    """Compute the gradient (n, c, *space) of the sum of all classes' log probabilities by the images.

    It keeps its graph in a differentiable batch.
    """
    images = leaf(batch)
    with torch.enable_grad():
        logits, _ = batch.forward(images)
        logarithms = LOGARITHMS[batch.model.head](logits)
        (gradient,) = derivatives(batch, logarithms.sum(1), [images])
    return gradient
