"""Registers REFLACX."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"reflacx": "heatproof_reflacx.reflacx:Reflacx"}
