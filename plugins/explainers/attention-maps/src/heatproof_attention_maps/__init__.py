"""Registers explainers that read the attention of transformers."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "attention_gradient": "heatproof_attention_maps.attention_gradient:AttentionGradient",
        "attention_lrp": "heatproof_attention_maps.attention_lrp:AttentionLrp",
        "attention_rollout": "heatproof_attention_maps.attention_rollout:AttentionRollout",
    }
