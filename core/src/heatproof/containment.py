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

_inside = threading.local()
"""``process`` is the number of the process in which this thread runs plugin code; a fork of it may exit."""


@contextmanager
def contained(name: str) -> Iterator[None]:
    """Turn an exit of the plugin ``name`` into a ``PluginError``; errors and Ctrl-C pass."""
    before = getattr(_inside, "process", None)
    _inside.process = os.getpid()
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        exit = f"{type(error).__name__} {error}".strip()
        raise PluginError(f"{name} ended the process ({exit}); let it return, or raise an error") from error
    finally:
        _inside.process = before


def _contained_exit(leave: Callable[..., Any]) -> Callable[..., Any]:
    """An exit that raises ``SystemExit`` inside plugin code."""

    def exit(status: int = 1) -> Any:
        if getattr(_inside, "process", None) == os.getpid():
            raise SystemExit(status)
        return leave(*() if leave is _abort else (status,))

    return exit


_abort = os.abort
os._exit = _contained_exit(os._exit)
os.abort = _contained_exit(_abort)
