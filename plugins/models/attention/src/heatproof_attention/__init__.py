"""Registers networks with trained attention, and the explainer that shows the attention of any model."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the models of this plugin."""
    return {
        "attention_unet": "heatproof_attention.unet:AttentionUnet",
        "attention_vgg": "heatproof_attention.vgg:AttentionVgg",
    }


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the explainer of this plugin."""
    return {"attention": "heatproof_attention.attention:Attention"}
