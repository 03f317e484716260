"""Registers the phantom dataset: synthetic fundus photographs."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"phantom": "salix_phantom.phantom:Phantom"}
