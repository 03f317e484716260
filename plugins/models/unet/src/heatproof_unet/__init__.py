"""Registers a U-Net with a class output, and its encoder with the same output alone."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"unet": "heatproof_unet.unet:UNet", "unet_encoder": "heatproof_unet.unet_encoder:UNetEncoder"}
