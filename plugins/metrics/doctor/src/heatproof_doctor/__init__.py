"""Registers the rejection of decisions by DOCTOR."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"doctor": "heatproof_doctor.doctor:Doctor"}
