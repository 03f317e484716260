"""The gradient times the image."""

from torch import Tensor

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.passes import gradients


class InputXGradient(Explainer):
    """What each value of the image contributes to first order (Shrikumar et al. 2016).

    Values sum to the score where the network is piecewise linear and has no biases; completeness is therefore not
    claimed in general.
    """

    traits = frozenset({"signed", "differentiable"})
    shares = "gradients"

    def explain(self, batch: Batch) -> Tensor:
        """Image times gradient of the target's score (n, c, *space)."""
        return batch.images * gradients(batch).images
