"""Registers the dataset of anybody's own pictures."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"image_folder": "salix_image_folder.image_folder:ImageFolder"}
