"""Registers COVID-CT."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"covid_ct": "salix_covid_ct.covid_ct:CovidCt"}
