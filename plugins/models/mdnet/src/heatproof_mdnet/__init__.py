"""Registers MDNet, which writes a report with attention on the image."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"mdnet": "heatproof_mdnet.mdnet:MDNet"}
