"""Registers the COVID-19 image data collection."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"covid_chestxray": "heatproof_covid_chestxray.covid_chestxray:CovidChestxray"}
