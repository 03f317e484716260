"""Registers the agreement of heatmaps with gaze."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"gaze": "heatproof_gaze.gaze:Gaze"}
