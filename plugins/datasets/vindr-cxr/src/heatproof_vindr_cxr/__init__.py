"""Registers VinDr-CXR."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"vindr_cxr": "heatproof_vindr_cxr.vindr_cxr:VindrCxr"}
