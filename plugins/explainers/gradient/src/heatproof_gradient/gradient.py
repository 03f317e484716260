"""The plain gradient."""

from torch import Tensor

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.passes import gradients


class Gradient(Explainer):
    """The change of the score per small change of each value of the image (Simonyan et al. 2014).

    The map is signed, while captum's ``Saliency`` takes the absolute value by default. The map of a linear model is
    exactly its weights.
    """

    traits = frozenset({"signed", "differentiable"})
    shares = "gradients"

    def explain(self, batch: Batch) -> Tensor:
        """The gradient of the target's score with respect to the images (n, c, *space)."""
        return gradients(batch).images
