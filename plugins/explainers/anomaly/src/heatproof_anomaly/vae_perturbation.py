"""Perturbation by an autoencoder: how far the score falls when a region becomes what it would be in a healthy image."""

from collections.abc import Hashable
from dataclasses import replace

from torch import Tensor

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.records import Array, Explanation, Verdict
from heatproof_shared_passes.sliding import Sliding, SlidingParams

from .reconstruction import OUTPUT, reconstructed


class VaePerturbationParams(SlidingParams):
    """The ``vae`` that reconstructs the image, and the region: a ``patch`` moved by its ``stride``, in pixels.

    ``vae`` is a model with the capability ``reconstruction``, such as ``vae`` of heatproof-autoencoder, which was
    trained on healthy images that were prepared as those of the explained model. One number is the side of a square or
    cube; a list has one per axis, rows first.
    """

    vae: Model


class VaePerturbation(Sliding[VaePerturbationParams]):
    """The fall of the score when a region is replaced by its reconstruction, averaged over the regions at each pixel.

    Uzunova et al. 2019, "Interpretable explanations of black box classifiers applied on medical images by meaningful
    perturbations using variational autoencoders". The paper replaces regions by the reconstruction of a variational
    autoencoder of healthy images, which unlike grey or blurred patches leaves an image that could be one, and finds one
    region per image by gradient descent on a mask; here a patch of fixed size slides over the image, as in occlusion.
    The score is the target's logit. The reconstruction is kept; the note ``degenerate`` is 1 if no region changes the
    score by more than rounding, and ``reconstruction_error`` is the mean of |x - x̂|.
    """

    def stored(self, image: Array) -> int:
        """The bytes of the reconstruction."""
        return image.nbytes

    def verdict(self, model: Model) -> Verdict:
        """Exact where the autoencoder knows images that are prepared as the model's; undefined where it takes others.

        Approximate where they are prepared otherwise, which only the user can know to be the same, and where the
        autoencoder was not trained.
        """
        verdict = super().verdict(model)
        vae = self.params.vae
        if verdict.level == "undefined":
            return verdict
        if OUTPUT not in vae.capabilities:
            return Verdict("undefined", f"{vae.short} gives no reconstruction, so it cannot replace regions")
        if model.size is not None and vae.size is not None and model.size != vae.size:
            return Verdict("undefined", f"{vae.short} takes images of size {vae.size}, {model.short} of {model.size}")
        if vae.in_precision(model.precision).grid != model.grid:
            reason = f"{vae.short} prepares images otherwise than {model.short}; it must know such images all the same"
            return Verdict("approximate", reason)
        if _is_random(vae):
            return Verdict("approximate", f"all weights of {vae.short} are random, so it knows no images; train it")
        return verdict

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space); raises ``ModelError`` where the autoencoder does not take the images."""
        explanation = super().explain(batch)
        reconstruction = self.patch_pixels(batch)
        errors = (batch.images - reconstruction).abs().flatten(1).mean(1)
        notes = {**explanation.notes, "reconstruction_error": errors.tolist()}
        return replace(explanation, notes=notes, kept={OUTPUT: reconstruction})

    def patch_pixels(self, batch: Batch) -> Tensor:
        """The reconstruction (n, c, *space)."""
        return reconstructed(batch, self.params.vae)

    def key(self) -> Hashable:
        """The identity of the autoencoder."""
        return OUTPUT, self.params.vae.identity


def _is_random(model: Model) -> bool:
    """Whether a model draws its weights from a seed, since its settings name no checkpoint."""
    settings = dict(model.params)
    return "seed" in settings and "weights" in settings and settings["weights"] is None
