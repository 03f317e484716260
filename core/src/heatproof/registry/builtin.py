"""What the core itself registers, as a plugin among plugins."""

from collections.abc import Mapping

from ..hooks import hookimpl


@hookimpl
def heatproof_explainers() -> Mapping[str, str]:
    """Declare chance, which every run is compared with."""
    return {"random": "heatproof.chance:Random"}


@hookimpl
def heatproof_executors() -> Mapping[str, str]:
    """Declare the executor that needs nothing."""
    return {"serial": "heatproof.executor:Serial"}


@hookimpl
def heatproof_readers() -> Mapping[str, str]:
    """Declare the reader of the core."""
    return {"raster": "heatproof.imaging.raster:Raster"}
