"""Registers HAM10000."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"ham10000": "heatproof_ham10000.ham10000:Ham10000"}
