"""Registers LIDC-IDRI."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"lidc": "heatproof_lidc.lidc:Lidc"}
