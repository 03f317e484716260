"""The specification of the hook that declares objectives."""

from collections.abc import Mapping

from heatproof.hooks import hookspec


@hookspec
def heatproof_objectives() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Objectives: name → ``"module:Class"`` of a ``heatproof_objectives.objective.Objective``."""
