"""Registers the dataset of myocardial polar maps."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"polar_map": "salix_polar_map.polar_map:PolarMap"}
