"""The convolutional autoencoder, and the one that is trained against a discriminator."""

from torch import Tensor, nn

from heatproof_autoencoder.reconstructing import AnomalyScore, Reconstructing, ReconstructingParams, decoder, encoder


class Autoencoder(Reconstructing):
    """A convolutional autoencoder, which is trained on healthy images to reconstruct them.

    What it cannot reconstruct is an anomaly (as in the review of Huff et al. 2021, section 2.3). Outputs are ``logits``
    (n, 1), the anomaly score; ``reconstruction`` (n, c, size, size); and ``latent`` (n, latent).
    """

    outputs = ("logits", "reconstruction", "latent")

    def random_network(self) -> nn.Module:
        """Images (n, c, size, size) → logits (n, 1), reconstruction and latent values."""
        return AutoencoderNetwork(self.params)


class AdversarialAutoencoder(Autoencoder):
    """The deterministic encoder and decoder of an adversarial autoencoder (Makhzani et al. 2015).

    In training a discriminator, which belongs to the objective and not to the network, tells the values of the output
    ``latent`` from standard normal ones, so that they become alike. Its network and outputs are those of
    ``autoencoder``.
    """


class AutoencoderNetwork(nn.Module):
    """Encoder, one dense layer to the latent values, and decoder."""

    def __init__(self, params: ReconstructingParams):
        super().__init__()
        self.encoder, features = encoder(params)
        self.latent = nn.Linear(features, params.latent)
        self.decoder = decoder(params)
        self.score = AnomalyScore(params.error, params.threshold)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, c, h, w) → logits (n, 1), reconstruction (n, c, h, w) and latent values (n, latent)."""
        latent = self.latent(self.encoder(images))
        reconstruction = self.decoder(latent)
        return {"logits": self.score(images, reconstruction), "reconstruction": reconstruction, "latent": latent}
