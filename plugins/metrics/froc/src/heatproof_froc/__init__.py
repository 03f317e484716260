"""Registers the free-response receiver operating characteristic."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"froc": "heatproof_froc.froc:Froc"}
