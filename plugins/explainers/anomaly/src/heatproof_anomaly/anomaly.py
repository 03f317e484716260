"""The anomaly map: where a model's own reconstruction differs from the image."""

from typing import Literal

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.passes import outputs
from heatproof.records import Array, Explanation

from .reconstruction import OUTPUT, checked


class AnomalyParams(Params):
    """The ``error`` at each pixel: ``absolute``, |x - x̂|, or ``squared``; it is averaged over the channels."""

    error: Literal["absolute", "squared"] = "absolute"


class Anomaly(Explainer[AnomalyParams]):
    """The error of the model's reconstruction at each pixel: an anomaly is what an autoencoder has not learned.

    It is the mean over the channels of |x - x̂|, or of its square, for prepared images x and the model's output
    ``reconstruction`` x̂ (as in the review of Huff et al. 2021, section 2.3); it is the same for every target. The mean
    of the map is the anomaly score of the models of heatproof-autoencoder with the same ``error``, but for their
    threshold. The reconstruction is kept. Models have the capability ``reconstruction``.
    """

    requires = frozenset({OUTPUT})
    traits = frozenset({"targetless", "differentiable"})
    spaces = frozenset({2, 3})
    passes = (1, 0)
    reads_logits = True

    def stored(self, image: Array) -> int:
        """The bytes of the reconstruction."""
        return image.nbytes

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space); raises ``ModelError`` for a reconstruction of another shape than the images'."""
        reconstruction = checked(batch.model, outputs(batch).get(OUTPUT), batch.images)
        differences = batch.images - reconstruction
        errors = differences.square() if self.params.error == "squared" else differences.abs()
        return Explanation(errors.mean(1, keepdim=True), kept={OUTPUT: reconstruction.detach()})
