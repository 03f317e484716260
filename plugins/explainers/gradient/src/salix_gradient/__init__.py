"""Registers explainers from plain gradients."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "gradient": "salix_gradient.gradient:Gradient",
        "input_x_gradient": "salix_gradient.input_x_gradient:InputXGradient",
        "deeplift": "salix_gradient.deeplift:DeepLift",
        "integrated_gradients": "salix_gradient.integrated_gradients:IntegratedGradients",
    }
