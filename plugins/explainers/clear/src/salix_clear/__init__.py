"""Registers CLEAR maps."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_explainers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"clear": "salix_clear.clear:Clear"}
