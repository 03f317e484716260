"""Containment: what a plugin does to end the process becomes an error of that plugin.

Importing this module replaces ``os._exit`` and ``os.abort``: in a thread that runs plugin code they raise
``SystemExit``. A signal, a crash in C code and an exit in a thread or process of the plugin's own are not contained.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .errors import PluginError

leave = os._exit
"""The function itself, without containment."""
_inside = threading.local()
"""``process`` is the number of the process in which this thread runs plugin code; a fork of it may exit."""


@contextmanager
def no_exit() -> Iterator[None]:
    """Let ``os._exit`` and ``os.abort`` raise ``SystemExit``, as ``sys.exit`` does."""
    before = getattr(_inside, "process", None)
    _inside.process = os.getpid()
    try:
        yield
    finally:
        _inside.process = before


@contextmanager
def contained(name: str) -> Iterator[None]:
    """Turn an exit of the plugin ``name`` into a ``PluginError``; errors and Ctrl-C pass."""
    try:
        with no_exit():
            yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        exit = f"{type(error).__name__} {error}".strip()
        raise PluginError(f"{name} ended the process ({exit}); let it return, or raise an error") from error


def _contained(name: str, leave: Callable[..., Any]) -> Callable[..., Any]:
    """A function that ends the process, or raises ``SystemExit`` inside plugin code."""

    def exit(*arguments: Any) -> Any:
        if getattr(_inside, "process", None) == os.getpid():
            raise SystemExit(f"os.{name}({', '.join(map(str, arguments))})")
        return leave(*arguments)

    return exit


for function in ("_exit", "abort"):
    setattr(os, function, _contained(function, getattr(os, function)))
