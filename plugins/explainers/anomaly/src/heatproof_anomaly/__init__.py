"""Registers explainers by reconstruction: the anomaly map, and perturbation by a variational autoencoder."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "anomaly": "heatproof_anomaly.anomaly:Anomaly",
        "vae_perturbation": "heatproof_anomaly.vae_perturbation:VaePerturbation",
    }
