"""Registers the IDRiD dataset."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"idrid": "salix_idrid.idrid:Idrid"}
