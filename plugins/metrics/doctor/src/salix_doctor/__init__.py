"""Registers the rejection of decisions by DOCTOR."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"doctor": "salix_doctor.doctor:Doctor"}
