"""Registers COVID-CT."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"covid_ct": "heatproof_covid_ct.covid_ct:CovidCt"}
