"""Registers FF-VGG19, which fuses the features of several blocks of VGG19."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"ff_vgg19": "heatproof_ff_vgg19.ff_vgg19:FFVGG19"}
