"""Registers the PET/CT dataset of solitary pulmonary nodules."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"petct_spn": "salix_petct_spn.petct_spn:PetctSpn"}
