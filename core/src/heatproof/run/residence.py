"""The single model whose network stays in a process, until a task needs another or the last task is done."""

from ..model import Model

_residents: dict[str, Model] = {}  # identity → model; never more than one


def resident(model: Model) -> Model:
    """The resident model of this identity; any other is freed, as several networks may not fit into the memory."""
    if model.identity not in _residents:
        free()
        _residents[model.identity] = model
    return _residents[model.identity]


def free() -> None:
    """Free the resident network and everything derived from it."""
    for model in _residents.values():
        model.forget()
    _residents.clear()
