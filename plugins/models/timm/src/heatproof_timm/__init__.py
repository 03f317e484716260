"""Registers the classifiers of timm, and prepares images as its records and transforms say."""

from collections.abc import Mapping
from typing import Any

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"timm": "heatproof_timm.classifier:Timm"}


@hookimpl
def heatproof_preparation(source: Any) -> Any:
    """Convert a transform of timm, or read the record of a network that timm built."""
    from heatproof_timm.evaluation import preparation

    return preparation(source)
