"""Registers autoencoders: networks that learn to reconstruct healthy images."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "adversarial_autoencoder": "heatproof_autoencoder.autoencoder:AdversarialAutoencoder",
        "autoencoder": "heatproof_autoencoder.autoencoder:Autoencoder",
        "vae": "heatproof_autoencoder.vae:Vae",
    }
