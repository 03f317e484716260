"""Registers the CLEAR response and class maps."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"clear": "heatproof_clear.clear:Clear"}
