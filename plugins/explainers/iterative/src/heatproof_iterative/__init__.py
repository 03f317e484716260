"""Registers iterative refinement of heatmaps."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "iterative": "heatproof_iterative.iterative:Iterative",
    }
