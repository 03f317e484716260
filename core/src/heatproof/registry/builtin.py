"""The components that the core itself registers, through the same hooks as a plugin."""

from collections.abc import Mapping

from ..hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare the random heatmap, with which every run compares its explainers."""
    return {"random": "heatproof.chance:Random"}


@hookimpl
def heatproof_executors() -> Mapping[str, str]:
    """Declare the executor that runs all tasks in this process."""
    return {"serial": "heatproof.executor:Serial"}


@hookimpl
def heatproof_readers() -> Mapping[str, str]:
    """Declare the reader of raster images."""
    return {"raster": "heatproof.imaging.raster:Raster"}
