"""The loss of adversarial autoencoders, with the discriminator of the latent codes."""

from collections.abc import Mapping

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.seeding import generator
from heatproof_objectives.step import Step

from .autoencoder import Reconstructing, ReconstructionParams


class AdversarialParams(ReconstructionParams):
    """The weight of the adversarial term, and the sizes of the discriminator.

    ``weight``: that of the encoder's loss against the discriminator. ``latent``: the output (n, …) with the latent
    codes. ``width``: the units of both hidden layers of the discriminator.
    """

    weight: float = Field(default=0.1, ge=0, le=1e12)
    latent: str = "latent"
    width: int = Field(default=1000, ge=1, le=1_000_000)


class AdversarialAutoencoder(Reconstructing[AdversarialParams]):
    """The error of the reconstruction + weight · how well a discriminator tells the latent codes from the prior.

    Makhzani et al. 2015, "Adversarial Autoencoders", arXiv:1511.05644. The discriminator has two hidden layers with
    ReLU, and the prior is a standard normal distribution. It minimises the binary cross-entropy of draws (1) and codes
    (0); the encoder minimises that of codes taken for draws (1). Both losses have their gradients from one backward
    pass: the encoder none from the discriminator's loss, the discriminator none from the encoder's. The value of the
    loss is that of the autoencoder alone; the loss of the discriminator adds its gradient only. Logged as
    ``reconstruction``, ``encoder`` and ``discriminator``.
    """

    _discriminator: nn.Module | None = None

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model without reconstruction or latent codes."""
        super().require(model)
        self.require_output(model, self.params.latent)

    def modules(self, model: Model) -> nn.Module:
        """Build the discriminator for the model's number of latent dimensions, from torch's generator."""
        width = self.params.width
        self._discriminator = nn.Sequential(
            nn.Flatten(), nn.Linear(self._dimensions(model), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, 1),
        )  # fmt: skip
        return self._discriminator

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return ``loss``, ``reconstruction``, ``encoder`` and ``discriminator``."""
        error = self.errors(step).mean()
        codes = step.outputs[self.params.latent]
        frozen = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        encoder = _taken_for(functional_call(self.discriminator, frozen, (codes,)), 1)
        of_prior = _taken_for(self.discriminator(prior(step, codes)), 1)
        coded = _taken_for(self.discriminator(codes.detach()), 0)
        discriminator = (of_prior + coded) / 2
        loss = error + self.params.weight * encoder + (discriminator - discriminator.detach())
        return {"loss": loss, "reconstruction": error, "encoder": encoder, "discriminator": discriminator}

    @property
    def discriminator(self) -> nn.Module:
        """The discriminator; raises ``ModelError`` before ``modules`` has built it."""
        if self._discriminator is None:
            raise ModelError(f"{self.short} has no discriminator yet; call modules(model) before the first step.")
        return self._discriminator

    def _dimensions(self, model: Model) -> int:
        """The number of values of a latent code, from an image that the network takes."""
        example = model.outline.example
        if example is None:
            raise ModelError(
                f"the number of latent dimensions of {model.short} is unknown, since no example image fits its "
                "network; give the model a preparation with its size."
            )
        with torch.no_grad():
            return model.forward(example)[self.params.latent][0].numel()


def prior(step: Step, codes: Tensor) -> Tensor:
    """Draw one code per sample from the standard normal prior, shaped like ``codes`` (n, …).

    It depends on the seed of the batch, which training changes from epoch to epoch, and on the sample.
    """
    shape = tuple(codes.shape[1:])
    draws = [generator(step.batch.seed, id, "prior").standard_normal(shape) for id in step.batch.ids]
    return torch.from_numpy(np.stack(draws)).to(codes)


def _taken_for(logits: Tensor, answer: int) -> Tensor:
    """The binary cross-entropy of the logits (n, 1) against one answer."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, answer))
