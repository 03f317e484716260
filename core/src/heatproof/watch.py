"""Watches over plugin code: what it changes is undone, and named."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import numpy as np
import torch

from .containment import contained
from .errors import Interference
from .process_state import Process

Result = TypeVar("Result")


class Watch(Protocol):
    """Something that plugin code must leave as it was."""

    def undo(self) -> list[str]:
        """Restore what has changed, as far as that is possible, and return the names."""


@contextmanager
def random_states(device: torch.device | None = None) -> Iterator[None]:
    """Restore the global random states afterwards, also those of a GPU."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    generators = [torch.default_generator]
    if device is not None and device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    states = [generator.get_state() for generator in generators]
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        for generator, state in zip(generators, states):
            generator.set_state(state)


@contextmanager
def watched(name: str, *watches: Watch, device: torch.device | None = None) -> Iterator[None]:
    """Contain the plugin code ``name``, and undo what it changes of the things that are watched.

    Raises ``Interference`` that names the changes. Random states are restored silently.
    """
    try:
        with random_states(device), contained(name):
            yield
    finally:
        changed = [change for watch in watches for change in watch.undo()]
        if changed and not isinstance(sys.exception(), KeyboardInterrupt):
            listed = ", ".join(changed[:3]) + (" and others" if len(changed) > 3 else "")
            raise Interference(f"{name} changes {listed}; let it restore them, or work on a copy.")


def settled(name: str, act: Callable[[], Result]) -> Result:
    """The result of plugin code that leaves the process as it was, at its second call at the latest.

    A first call may import a library that sets something up: this is undone, and the call is made again.
    """

    def call() -> Result:
        with watched(name, Process()):
            return act()

    return again(call)


def again(call: Callable[[], Result]) -> Result:
    """The result of a watched call; it is made a second time if the first one changed something."""
    try:
        return call()
    except Interference:
        return call()
