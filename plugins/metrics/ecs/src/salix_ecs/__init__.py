"""Registers the Explainability Consistency Score."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"ecs": "salix_ecs.ecs:Ecs"}
