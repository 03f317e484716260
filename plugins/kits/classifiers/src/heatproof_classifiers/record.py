"""What a library knows of one of its networks, and the names of classes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"names {repeated[0]!r} twice; give each output a name of its own")
    return names


Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_distinct)]
"""The names of a network's outputs, in their order, in Params."""


@dataclass(frozen=True)
class Record:
    """The classes of a library's weights (empty if it names none), and its transform of evaluation."""

    classes: tuple[str, ...]
    transform: Any


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes; equal ones get their index, as in ``crane (134)``.

    >>> unique(["crane", "hen", "crane"])
    ('crane (0)', 'hen', 'crane (2)')
    """
    counts = Counter(names)
    return tuple(f"{name} ({index})" if counts[name] > 1 else name for index, name in enumerate(names))
