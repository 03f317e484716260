"""Registers layer-wise relevance propagation."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "lrp": "heatproof_lrp.lrp:Lrp",
    }
