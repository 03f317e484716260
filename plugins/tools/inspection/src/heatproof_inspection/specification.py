"""The specification of the hook that declares inspectors."""

from collections.abc import Mapping

from heatproof.hooks import hookspec


@hookspec
def heatproof_inspectors() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Inspectors: name → ``"module:Class"`` of a ``heatproof_inspectors.inspector.Inspector``."""
