"""Registers the PET/CT dataset of solitary pulmonary nodules."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"petct_spn": "heatproof_petct_spn.petct_spn:PetctSpn"}
