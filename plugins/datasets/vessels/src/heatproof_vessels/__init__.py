"""Registers the vessel masks of CHASE_DB1 and DRIVE."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"vessels": "heatproof_vessels.vessels:Vessels"}
