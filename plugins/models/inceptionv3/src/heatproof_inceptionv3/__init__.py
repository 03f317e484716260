"""Registers InceptionV3 with an ordinal head."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"inceptionv3": "heatproof_inceptionv3.inceptionv3:InceptionV3"}
