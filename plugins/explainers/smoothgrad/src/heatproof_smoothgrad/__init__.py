"""Registers the explainers that combine the maps of noisy copies: SmoothGrad, SmoothGrad-Squared and VarGrad."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "smoothgrad": "heatproof_smoothgrad.smoothgrad:SmoothGrad",
        "smoothgrad_squared": "heatproof_smoothgrad.smoothgrad_squared:SmoothGradSquared",
        "vargrad": "heatproof_smoothgrad.vargrad:VarGrad",
    }


@hookimpl
def heatproof_synonyms() -> Mapping[str, str]:
    """Declare the names of these components in other libraries."""
    return {
        "NoiseTunnel": "smoothgrad",
    }
