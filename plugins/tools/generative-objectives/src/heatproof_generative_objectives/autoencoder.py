"""The loss of autoencoders: how far the reconstruction is from the image."""

from collections.abc import Mapping

from torch import Tensor
from typing_extensions import TypeVar

from heatproof.component import Params
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof_objectives.objective import Objective
from heatproof_objectives.step import Step


class ReconstructionParams(Params):
    """``output``: the output with the reconstruction of the image."""

    output: str = "reconstruction"


P = TypeVar("P", bound=ReconstructionParams, default=ReconstructionParams, covariant=True)


class Reconstructing(Objective[P]):
    """An objective with the reconstruction in its loss; it needs no labels."""

    labelled = False

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model without reconstruction."""
        self.require_output(model, self.params.output)

    def errors(self, step: Step, target: Tensor | None = None) -> Tensor:
        """The mean squared error (n,) of the reconstruction of each image, or of another target (n, c, *space).

        Raises ``ModelError`` for a reconstruction of another shape.
        """
        if target is None:
            target = step.batch.images
        values = step.outputs[self.params.output]
        if values.shape != target.shape:
            raise ModelError(
                f"the output {self.params.output!r} of {step.batch.model.short} has shape {tuple(values.shape)}; a "
                f"reconstruction has that of the images, {tuple(target.shape)}."
            )
        return (values - target).square().flatten(1).mean(1)


class Autoencoder(Reconstructing):
    """The mean squared error of the reconstruction, over pixels and channels of the prepared image.

    Baur et al. 2021, "Autoencoders for unsupervised anomaly segmentation in brain MR images: a comparative study",
    Medical Image Analysis 69:101952, compares autoencoders trained so.
    """

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return ``loss``."""
        return {"loss": self.errors(step).mean()}
