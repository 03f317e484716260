"""Registers the agreement of heatmaps with gaze."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"gaze": "salix_gaze.gaze:Gaze"}
