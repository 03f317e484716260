"""Registers X-Caps, a capsule network."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"xcaps": "heatproof_capsule.xcaps:XCaps"}
