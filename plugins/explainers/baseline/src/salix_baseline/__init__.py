"""Registers heatmaps that know nothing of the model."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "random": "salix_baseline.random:Random",
        "centre": "salix_baseline.centre:Centre",
        "input_edges": "salix_baseline.input_edges:InputEdges",
    }
