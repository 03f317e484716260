"""Registers InceptionV3 with an ordinal head."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"inceptionv3": "salix_inceptionv3.inceptionv3:InceptionV3"}
