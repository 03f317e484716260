"""Registers EGD-CXR."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"egd_cxr": "heatproof_egd_cxr.egd_cxr:EgdCxr"}
