"""Registers layer-wise relevance propagation."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {
        "lrp": "salix_lrp.lrp:Lrp",
    }
