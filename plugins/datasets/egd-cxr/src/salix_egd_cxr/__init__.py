"""Registers EGD-CXR."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"egd_cxr": "salix_egd_cxr.egd_cxr:EgdCxr"}
