"""What a library knows of one of its networks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


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
