"""Registers the IDRiD dataset."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"idrid": "heatproof_idrid.idrid:Idrid"}
