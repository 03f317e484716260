"""The gradient times the image."""

from torch import Tensor

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.passes import gradients


class InputXGradient(Explainer):
    """The contribution of each value of the image to the score, to first order (Shrikumar et al. 2016).

    The map sums to the score only for piecewise linear networks without biases; the trait ``complete`` is therefore
    missing.
    """

    traits = frozenset({"signed", "differentiable"})
    shares = "gradients"

    def explain(self, batch: Batch) -> Tensor:
        """Image times gradient of the target's score (n, c, *space)."""
        return batch.images * gradients(batch).images
