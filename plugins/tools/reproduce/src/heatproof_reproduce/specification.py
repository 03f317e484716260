"""The specification of the hook that declares papers."""

from collections.abc import Mapping

from heatproof.hooks import hookspec


@hookspec
def heatproof_papers() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Papers: name → ``"module:folder"``; in that folder of the package, ``name/paper.yaml`` describes the paper."""
