"""Registers iterative saliency map refinement."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "iterative": "salix_iterative.iterative:Iterative",
    }
