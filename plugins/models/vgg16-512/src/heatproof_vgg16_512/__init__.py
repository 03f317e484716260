"""Registers VGG16 for photographs of 512 × 512 pixels with one regression output."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"vgg16_512": "heatproof_vgg16_512.vgg16_512:VGG16At512"}
