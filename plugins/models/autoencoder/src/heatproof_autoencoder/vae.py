"""The variational autoencoder, and the divergence of its latent values from the standard normal distribution."""

import torch
from torch import Tensor, nn

from heatproof_autoencoder.reconstructing import AnomalyScore, Reconstructing, ReconstructingParams, decoder, encoder


class Vae(Reconstructing):
    """A variational autoencoder (Kingma and Welling 2014): the encoder gives a normal distribution of latent values.

    At inference the decoder gets its ``mean``, so that maps and scores are the same in every call; in training it gets
    values drawn from it by torch's generator. Outputs are ``logits`` (n, 1), the anomaly score; ``reconstruction``
    (n, c, size, size); ``mean`` and ``log_variance`` (n, latent); and ``divergence`` (n,), the Kullback-Leibler
    divergence of this distribution from the standard normal one in nats, which a training loss adds to the error.
    """

    outputs = ("logits", "reconstruction", "mean", "log_variance", "divergence")

    def random_network(self) -> nn.Module:
        """Images (n, c, size, size) → logits (n, 1), reconstruction, mean, log-variance and divergence."""
        return VaeNetwork(self.params)


class VaeNetwork(nn.Module):
    """Encoder, two dense layers to mean and log-variance, and decoder."""

    def __init__(self, params: ReconstructingParams):
        super().__init__()
        self.encoder, features = encoder(params)
        self.mean = nn.Linear(features, params.latent)
        self.log_variance = nn.Linear(features, params.latent)
        self.decoder = decoder(params)
        self.score = AnomalyScore(params.error, params.threshold)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, c, h, w) → logits (n, 1), reconstruction, mean, log-variance (n, latent) and divergence (n,)."""
        features = self.encoder(images)
        mean = self.mean(features)
        log_variance = self.log_variance(features)
        latent = mean
        if self.training:
            latent = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        reconstruction = self.decoder(latent)
        return {
            "logits": self.score(images, reconstruction),
            "reconstruction": reconstruction,
            "mean": mean,
            "log_variance": log_variance,
            "divergence": divergence(mean, log_variance),
        }


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The Kullback-Leibler divergence (n,) in nats of normal distributions from the standard normal one.

    ``mean`` and ``log_variance`` (n, latent) are those of independent latent values; it is Σ (μ² + σ² - ln σ² - 1) / 2.
    """
    return ((mean.square() + log_variance.expm1() - log_variance) / 2).sum(1)
