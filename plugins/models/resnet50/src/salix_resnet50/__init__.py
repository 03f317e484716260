"""Registers ResNet50 with an ordinal head."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"resnet50": "salix_resnet50.resnet50:ResNet50"}
