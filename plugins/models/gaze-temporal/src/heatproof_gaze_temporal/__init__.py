"""Registers the network for radiographs and frames of gaze."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"gaze_temporal": "heatproof_gaze_temporal.gaze_temporal:GazeTemporal"}
