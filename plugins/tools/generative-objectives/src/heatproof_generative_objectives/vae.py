"""The loss of variational autoencoders."""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof_objectives.step import Step

from .autoencoder import Reconstructing, ReconstructionParams


class VariationalParams(ReconstructionParams):
    """The weight of the divergence, and the outputs that describe the latent distribution.

    ``beta``: without it, 2 / D for images of D values, with which the loss is 2 / D times the negative evidence lower
    bound of a decoder with unit variance. ``mean`` and ``log_variance``: the outputs (n, latent) with the mean and the
    natural logarithm of the variance.
    """

    beta: float | None = Field(default=None, ge=0, le=1e12)
    mean: str = "mean"
    log_variance: str = "log_variance"


class VariationalAutoencoder(Reconstructing[VariationalParams]):
    """The mean squared error of the reconstruction + β · the divergence of the latent distribution from the prior.

    The divergence is KL(N(μ, σ²) ‖ N(0, 1)) = ½ Σ (μ² + σ² - ln σ² - 1) over the latent dimensions, in nats, and the
    mean over the samples: Kingma and Welling 2014, "Auto-Encoding Variational Bayes", ICLR. The error is the mean over
    pixels and channels; the β of Higgins et al. 2017 (β-VAE) is D / 2 times this one, for images of D values. Logged
    as ``reconstruction`` and ``divergence``.
    """

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model that lacks one of the three outputs."""
        super().require(model)
        self.require_output(model, self.params.mean)
        self.require_output(model, self.params.log_variance)

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return ``loss``, ``reconstruction`` and ``divergence``."""
        error = self.errors(step).mean()
        divergence = self.divergences(step).mean()
        beta = self.params.beta
        if beta is None:
            beta = 2 / step.batch.images[0].numel()
        return {"loss": error + beta * divergence, "reconstruction": error, "divergence": divergence}

    def divergences(self, step: Step) -> Tensor:
        """The divergence (n,) of each sample; raises ``ModelError`` where mean and variance have other shapes."""
        mean = step.outputs[self.params.mean]
        log_variance = step.outputs[self.params.log_variance]
        if mean.shape != log_variance.shape:
            raise ModelError(
                f"the outputs {self.params.mean!r} and {self.params.log_variance!r} of {step.batch.model.short} have "
                f"shapes {tuple(mean.shape)} and {tuple(log_variance.shape)}; both describe the same dimensions."
            )
        return divergence(mean, log_variance)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute KL(N(mean, exp(log_variance)) ‖ N(0, 1)) in nats (n,), summed over the dimensions of (n, …).

    >>> import torch
    >>> divergence(torch.tensor([[1.0, -1.0]]), torch.zeros(1, 2)).item()
    1.0
    """
    values = mean.square() + log_variance.exp() - log_variance - 1
    return values.flatten(1).sum(1) / 2
