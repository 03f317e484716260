"""Registers the classifiers of torchvision, and prepares images as its transforms do."""

from collections.abc import Mapping
from typing import Any

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"torchvision": "heatproof_torchvision.classifier:Torchvision"}


@hookimpl
def heatproof_preparation(source: Any) -> Any:
    """Convert a transform of torchvision, or that of its weights."""
    from heatproof_torchvision.preparation import preparation

    return preparation(source)
