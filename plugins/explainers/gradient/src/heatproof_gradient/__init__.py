"""Registers explainers by gradients of the score."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "gradient": "heatproof_gradient.gradient:Gradient",
        "gradient_shap": "heatproof_gradient.gradient_shap:GradientShap",
        "input_x_gradient": "heatproof_gradient.input_x_gradient:InputXGradient",
        "deeplift": "heatproof_gradient.deeplift:DeepLift",
        "integrated_gradients": "heatproof_gradient.integrated_gradients:IntegratedGradients",
    }


@hookimpl
def heatproof_synonyms() -> Mapping[str, str]:
    """Declare the names of these components in other libraries."""
    return {
        "Saliency": "gradient",
        "VanillaGradients": "gradient",
        "ExpectedGradients": "gradient_shap",
    }
