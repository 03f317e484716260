"""Registers the small packaged network."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"lesionnet": "salix_lesionnet.lesionnet:LesionNet"}
