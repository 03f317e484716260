"""Deprecation: one way to announce that a name, an argument or a setting goes away."""

import warnings
from collections.abc import Callable
from typing import TypeVar

from typing_extensions import deprecated as marked

Decorated = TypeVar("Decorated", bound=Callable[..., object])


class HeatproofDeprecationWarning(FutureWarning):
    """Something that a later version removes; shown by default, to users as well as to developers."""


def deprecated(name: str, since: str, removal: str, instead: str) -> Callable[[Decorated], Decorated]:
    """Mark a function or class: each use warns, and type checkers report it (PEP 702).

    ``since`` and ``removal`` are versions; ``instead`` completes "use …".
    """
    return marked(message(name, since, removal, instead), category=HeatproofDeprecationWarning)


def warn_deprecated(name: str, since: str, removal: str, instead: str, stacklevel: int = 2) -> None:
    """Warn of an argument, a setting or a value that goes away, at the line that calls the caller."""
    warnings.warn(message(name, since, removal, instead), HeatproofDeprecationWarning, stacklevel + 1)


def message(name: str, since: str, removal: str, instead: str) -> str:
    """Return the sentence that every deprecation uses.

    >>> message("Dataset.group", "0.2", "0.4", "Dataset.patient")
    'Dataset.group is deprecated since heatproof 0.2 and will be removed in 0.4; use Dataset.patient.'
    """
    return f"{name} is deprecated since heatproof {since} and will be removed in {removal}; use {instead}."
