"""Deprecation: one way to announce that a name, an argument or a setting goes away."""

from typing_extensions import deprecated as marked


class HeatproofDeprecationWarning(FutureWarning):
    """Something that a later version removes; Python shows it to users as well as to developers."""


def deprecated(name: str, since: str, removal: str, instead: str) -> marked:
    """Mark a function or class (PEP 702): each use warns, and type checkers report it.

    >>> deprecated("Dataset.group", since="0.2", removal="0.4", instead="Dataset.patient").message
    'Dataset.group is deprecated since heatproof 0.2 and will be removed in 0.4; use Dataset.patient.'
    """
    message = f"{name} is deprecated since heatproof {since} and will be removed in {removal}; use {instead}."
    return marked(message, category=HeatproofDeprecationWarning)
