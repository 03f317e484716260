"""Registers explainers that rectify the backward pass."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "guided_backprop": "heatproof_backprop.guided_backprop:GuidedBackprop",
        "deconvnet": "heatproof_backprop.deconvnet:DeconvNet",
    }


@hookimpl
def heatproof_synonyms() -> Mapping[str, str]:
    """Declare the names of these components in other libraries."""
    return {
        "Deconvolution": "deconvnet",
    }
