"""Registers what a confusion matrix tells of decisions."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"grading": "salix_grading.grading:Grading"}
