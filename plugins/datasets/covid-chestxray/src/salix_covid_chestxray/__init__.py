"""Registers the COVID-19 image data collection."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"covid_chestxray": "salix_covid_chestxray.covid_chestxray:CovidChestxray"}
