"""Registers the phantom dataset: synthetic fundus photographs, chest radiographs and CT scans."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"phantom": "heatproof_phantom.phantom:Phantom"}
