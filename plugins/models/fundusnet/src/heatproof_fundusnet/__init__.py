"""Registers FundusNet, a network with a packaged checkpoint that was trained on real photographs."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"fundusnet": "heatproof_fundusnet.fundusnet:FundusNet"}
