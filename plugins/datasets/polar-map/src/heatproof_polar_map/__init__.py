"""Registers the dataset of myocardial polar maps."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"polar_map": "heatproof_polar_map.polar_map:PolarMap"}
