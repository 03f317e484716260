"""Registers VGG16 with an ordinal head."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"vgg16": "salix_vgg16.vgg16:VGG16"}
