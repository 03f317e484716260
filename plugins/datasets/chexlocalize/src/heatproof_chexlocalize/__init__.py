"""Registers CheXlocalize."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"chexlocalize": "heatproof_chexlocalize.chexlocalize:Chexlocalize"}
