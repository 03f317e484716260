"""Registers LesionNet, a small network with a packaged checkpoint."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"lesionnet": "heatproof_lesionnet.lesionnet:LesionNet"}
