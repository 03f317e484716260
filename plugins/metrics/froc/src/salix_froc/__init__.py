"""Registers the free-response receiver operating characteristic."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"froc": "salix_froc.froc:Froc"}
