"""Registers the measures of decisions that follow from a confusion matrix."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"grading": "heatproof_grading.grading:Grading"}
