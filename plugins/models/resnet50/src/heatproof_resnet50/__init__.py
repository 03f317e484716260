"""Registers ResNet50 with an ordinal head."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"resnet50": "heatproof_resnet50.resnet50:ResNet50"}
