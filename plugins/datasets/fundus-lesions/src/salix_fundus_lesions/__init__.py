"""Registers fundus photographs with lesions that readers marked."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"fundus_lesions": "salix_fundus_lesions.fundus_lesions:FundusLesions"}
