"""The one model whose network this process holds: it is freed when a task needs another, and after the last task."""

from ..model import Model
from .provenance import weights_digest

_residents: dict[str, Model] = {}
"""Identity → model; never more than one."""
_weights: dict[str, str] = {}
"""Identity → digest of its weights."""


def resident(model: Model) -> Model:
    """The model of this identity that the process holds already, else this one, in place of any other.

    Building and folding a network costs more than many passes, and ten of them may not fit into the memory.
    """
    if model.identity not in _residents:
        free()
        _residents[model.identity] = model
    return _residents[model.identity]


def weights_of(model: Model) -> str:
    """The digest of a resident's parameters and buffers, computed once while it is held."""
    if model.identity not in _weights:
        _weights[model.identity] = weights_digest(model.network)
    return _weights[model.identity]


def free() -> None:
    """Free the network that this process holds, and all that was made of it."""
    for model in _residents.values():
        model.forget()
    _residents.clear()
    _weights.clear()
