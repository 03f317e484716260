"""Registers VGG16 with an ordinal head."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"vgg16": "heatproof_vgg16.vgg16:VGG16"}
