"""Registers the executor that runs tasks in local processes."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_executors() -> Mapping[str, str]:
    """Declare the class of this plugin."""
    return {"processes": "heatproof_processes.processes:Processes"}
