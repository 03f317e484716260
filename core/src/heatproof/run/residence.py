"""The one model whose network this process holds: it is freed when a task needs another, and after the last task."""

from ..model import Model

_residents: dict[str, Model] = {}  # identity → model; never more than one


def resident(model: Model) -> Model:
    """The model of this identity that the process holds already, else this one, in place of any other.

    Building and folding a network costs more than many passes, and ten of them may not fit into the memory.
    """
    if model.identity not in _residents:
        free()
        _residents[model.identity] = model
    return _residents[model.identity]


def free() -> None:
    """Free the network that this process holds, and all that was made of it."""
    for model in _residents.values():
        model.forget()
    _residents.clear()
