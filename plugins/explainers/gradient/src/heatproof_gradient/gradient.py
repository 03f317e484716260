"""The plain gradient."""

from torch import Tensor

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.passes import gradients


class Gradient(Explainer):
    """Where a small change of the image changes the score most (Simonyan et al. 2014).

    Signed, as in the papers; captum's ``Saliency`` takes the absolute value unless told otherwise. A linear model
    gives exactly its weights.
    """

    traits = frozenset({"signed", "differentiable"})
    shares = "gradients"

    def explain(self, batch: Batch) -> Tensor:
        """The gradient of the target's score by the images (n, c, *space)."""
        return gradients(batch).images
