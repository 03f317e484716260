"""Registers the reader of DICOM."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_readers() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"dicom": "heatproof_dicom.dicom:Dicom"}
