"""Registers the area under the ROC curve."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"auc": "salix_auc.auc:Auc"}
