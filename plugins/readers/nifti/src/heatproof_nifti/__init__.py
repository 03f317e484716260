"""Registers the reader of NIfTI."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_readers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"nifti": "heatproof_nifti.nifti:Nifti"}
