"""heatproof: how far can this heatmap be trusted for this model on this data?

``compare``, ``explain`` and ``Result`` are imported on first use, so that ``heatproof list`` stays fast; the rest is in
the modules.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.compare import compare
    from .api.explain import explain
    from .api.result import Result

__all__ = ["Result", "compare", "explain"]
MODULES = {"compare": "heatproof.api.compare", "explain": "heatproof.api.explain", "Result": "heatproof.api.result"}
"""Name → the module that has it."""


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)
