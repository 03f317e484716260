"""Advice for a name that nothing is registered as: the file of a plugin, a name elsewhere, or similar names."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import near


def advice(name: str, names: Iterable[str], synonyms: Iterable[Any]) -> str:
    """Say what to write in place of a name that is none of ``names``.

    ``synonyms`` are the values of the hook ``heatproof_synonyms``; what is no mapping is passed over.
    """
    allowed = sorted(names)
    return file_of(name) or here(name, allowed, synonyms) or near(name, allowed)


def file_of(name: str) -> str:
    """Advice for a name that belongs to a file of a plugin, such as ``my_network.py/my_network``; empty for others."""
    file = name.partition("/")[0]
    return f"add --plugin with the path of {file} to the command" if file.endswith(".py") else ""


def here(name: str, names: Iterable[str], synonyms: Iterable[Any]) -> str:
    """Advice for a name that a component has elsewhere, or that is spelt otherwise; empty for others.

    >>> synonyms = [{"TopShare": {"use": "my_share", "top": 10}}]
    >>> here("top_share", ["my_share"], synonyms), here("MyShare", ["my_share"], synonyms)
    ('here it is {use: my_share, top: 10}', 'here it is my_share')
    """
    written: dict[str, Any] = {}
    for declared in synonyms:
        if isinstance(declared, Mapping):
            written |= {plain(str(synonym)): component for synonym, component in declared.items()}
    allowed = {*names}
    written |= {plain(registered): registered for registered in allowed}
    component = written.get(plain(name))
    if isinstance(component, Mapping) and component.get("use") in allowed:
        return "here it is {" + ", ".join(f"{key}: {value}" for key, value in component.items()) + "}"
    return f"here it is {component}" if isinstance(component, str) and component in allowed else ""


def plain(name: str) -> str:
    """Reduce a name to what all spellings share: letters and digits in lower case, and plus signs."""
    return "".join(character for character in name.casefold() if character.isalnum() or character == "+")
