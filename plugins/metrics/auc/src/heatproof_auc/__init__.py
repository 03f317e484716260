"""Registers the area under the ROC curve."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_metrics() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"auc": "heatproof_auc.auc:Auc"}
