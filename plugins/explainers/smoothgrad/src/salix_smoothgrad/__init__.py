"""Registers explainers from maps of noisy copies."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "smoothgrad": "salix_smoothgrad.smoothgrad:SmoothGrad",
        "smoothgrad_squared": "salix_smoothgrad.smoothgrad_squared:SmoothGradSquared",
        "vargrad": "salix_smoothgrad.vargrad:VarGrad",
    }
