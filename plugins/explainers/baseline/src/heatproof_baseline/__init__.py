"""Registers explainers that do not depend on the model."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "centre": "heatproof_baseline.centre:Centre",
        "input_edges": "heatproof_baseline.input_edges:InputEdges",
    }
