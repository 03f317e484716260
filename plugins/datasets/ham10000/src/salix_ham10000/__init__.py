"""Registers HAM10000."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"ham10000": "salix_ham10000.ham10000:Ham10000"}
