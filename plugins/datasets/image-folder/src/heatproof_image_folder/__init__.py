"""Registers the dataset of your own images."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"image_folder": "heatproof_image_folder.image_folder:ImageFolder"}
