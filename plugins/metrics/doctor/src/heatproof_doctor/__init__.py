"""Registers DOCTOR, which rejects doubtful decisions."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"doctor": "heatproof_doctor.doctor:Doctor"}
