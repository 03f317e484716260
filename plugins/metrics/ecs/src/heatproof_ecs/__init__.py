"""Registers the Explainability Consistency Score."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"ecs": "heatproof_ecs.ecs:Ecs"}
