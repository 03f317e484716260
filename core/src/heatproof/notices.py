"""Notices: what a user should know of something that is being built, such as how its checkpoint was read."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[str], object] | None] = ContextVar("listener", default=None)


def notice(text: str) -> None:
    """Say something about what is being built: among the notices of its model, or by a warning outside of one."""
    listener = _listener.get()
    if listener is None:
        warnings.warn(text, stacklevel=3)
    else:
        listener(text)


@contextmanager
def heard(listener: Callable[[str], object]) -> Iterator[None]:
    """Give the notices of this thread to ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
