"""Registers objectives of autoencoders, of capsule networks and of networks that write words."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl(optionalhook=True)
def heatproof_objectives() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "autoencoder": "heatproof_generative_objectives.autoencoder:Autoencoder",
        "vae": "heatproof_generative_objectives.vae:VariationalAutoencoder",
        "adversarial": "heatproof_generative_objectives.adversarial:AdversarialAutoencoder",
        "capsule": "heatproof_generative_objectives.capsule:Capsule",
        "words": "heatproof_generative_objectives.words:Words",
    }
