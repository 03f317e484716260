"""Registers explainers with a rectified backward pass."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "guided_backprop": "salix_backprop.guided_backprop:GuidedBackprop",
        "deconvnet": "salix_backprop.deconvnet:DeconvNet",
    }
