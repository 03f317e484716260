"""What the core itself registers, as a plugin among plugins."""

from collections.abc import Mapping

from .hooks import hookimpl


@hookimpl
def salix_executors() -> Mapping[str, str]:
    """Declare the executors of the core."""
    return {"serial": "salix.executors:Serial", "processes": "salix.executors:Processes"}
