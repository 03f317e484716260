"""Registers fundus photographs with lesions that readers annotated."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"fundus_lesions": "heatproof_fundus_lesions.fundus_lesions:FundusLesions"}
