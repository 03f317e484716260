"""The state of the process that plugin code must leave as it was: it is watched, undone, and its change is named."""

import builtins
import gc
import json
import locale
import math
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import attrgetter
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as modules

TINY = sys.float_info.min
BACKENDS = (
    "cudnn.enabled", "cudnn.benchmark", "cudnn.deterministic", "cudnn.conv.fp32_precision", "cudnn.rnn.fp32_precision",
    "cuda.matmul.fp32_precision", "cuda.matmul.allow_fp16_reduced_precision_reduction",
    "mkldnn.enabled", "mkldnn.deterministic", "mkldnn.conv.fp32_precision", "mkldnn.matmul.fp32_precision",
)  # fmt: skip
"""Settings of torch's libraries that change the last bits; not every version of torch has all of them."""

OWNERS: tuple[Any, ...] = (
    builtins, json, math, os, time, torch, torch.Tensor, torch.autograd, torch.linalg, nn, nn.functional,
    np, np.linalg, np.random, random,
    *{cls for cls in vars(nn).values() if isinstance(cls, type)},
)  # fmt: skip
"""Modules and classes whose functions must not be replaced."""
FUNCTIONS = tuple({member for owner in OWNERS for member in vars(owner).values() if isinstance(member, FunctionType)})
"""Their functions in Python, whose code must not be replaced either."""


@dataclass(frozen=True)
class Watched:
    """A part of the state: its name in messages, how it is read, and how the value read before is restored."""

    name: str
    read: Callable[[], Any]
    restore: Callable[[Any], Any]


def _device() -> Any:
    """The default device; None if none was set, which costs less than setting ``cpu``."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return context and context.device


def _autocast() -> list[tuple[str, bool, torch.dtype]]:
    return [(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")]


def _set_autocast(states: list[tuple[str, bool, torch.dtype]]) -> None:
    for kind, enabled, dtype in states:
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)


def _backends() -> dict[str, Any]:
    values = {}
    for path in BACKENDS:
        with suppress(AttributeError):
            values[path] = attrgetter(path)(torch.backends)
    return values


def _set_backends(values: Mapping[str, Any]) -> None:
    for path, value in values.items():
        if attrgetter(path)(torch.backends) != value:
            owner, _, name = path.rpartition(".")
            setattr(attrgetter(owner)(torch.backends), name, value)


def _hooks() -> dict[str, Any]:
    """The content of torch's global hooks."""
    hooks = {name: value for name, value in vars(modules).items() if name.startswith("_global_")}
    return {name: dict(value) if isinstance(value, dict) else value for name, value in hooks.items()}


def _set_hooks(hooks: Mapping[str, Any]) -> None:
    for name, value in hooks.items():
        if isinstance(value, dict):  # the same object: the handles of hooks refer to it
            refill(getattr(modules, name), value)
        else:
            setattr(modules, name, value)


def _modes_entered() -> tuple[int, int, Any]:
    """The numbers of torch's function and dispatch modes, and the default hooks of saved tensors."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack(), hooks


def _leave_modes(before: tuple[int, int, Any]) -> None:
    for _ in range(_modes_entered()[0] - before[0]):
        torch._C._pop_torch_function_stack()
    for _ in range(_modes_entered()[1] - before[1]):
        torch._C._pop_torch_dispatch_stack(None)
    while _modes_entered()[2] not in (None, before[2]):
        torch._C._autograd._pop_saved_tensors_default_hooks()


def _set_codes(codes: list[Any]) -> None:
    for function, code in zip(FUNCTIONS, codes):
        if function.__code__ is not code:
            function.__code__ = code


def _folder() -> str | None:
    """The working directory; None if it was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


_copies: dict[tuple[int, int, int], int] = {}  # a descriptor and its file → a copy of the descriptor


def _descriptors() -> list[tuple[int, int, int]]:
    """The files of those descriptors of 1 and 2 that are open; a copy of each stays open."""
    files = []
    for number in (1, 2):
        with suppress(OSError):
            state = os.fstat(number)
            file = (number, state.st_dev, state.st_ino)
            if file not in _copies:
                _copies[file] = os.dup(number)
            files.append(file)
    return files


def _set_descriptors(files: list[tuple[int, int, int]]) -> None:
    for file in files:
        os.dup2(_copies[file], file[0])


def _streams() -> list[tuple[str, Any, bool]]:
    return [(name, getattr(sys, name), getattr(getattr(sys, name), "closed", False)) for name in ("stdout", "stderr")]


def _set_streams(streams: list[tuple[str, Any, bool]]) -> None:
    """Put the streams back; one that was closed meanwhile is opened again on its descriptor."""
    for number, (name, stream, closed) in enumerate(streams, 1):
        if stream is not None and stream.closed and not closed:
            stream = os.fdopen(number, "w", 1, "utf-8", "backslashreplace", closefd=False)
        setattr(sys, name, stream)


def _set_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # tells Python that the filters have changed
    warnings.filters[:] = filters  # type: ignore[index]


def _set_path(path: list[str]) -> None:
    sys.path[:] = path


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _set_handlers(handlers: Mapping[int, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


_modes: list[Any] = []  # an inference mode lasts as long as its object


def _set_inference(enabled: bool) -> None:
    _modes.append(torch.inference_mode(enabled))
    _modes[-1].__enter__()


WATCHED = (
    Watched("the file descriptors of the output", _descriptors, _set_descriptors),
    Watched("the standard streams", _streams, _set_streams),
    Watched("the default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Watched("the default device", _device, torch.set_default_device),
    Watched("torch's inference mode", torch.is_inference_mode_enabled, _set_inference),
    Watched("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    Watched("torch's autocast", _autocast, _set_autocast),
    Watched(
        "torch's deterministic mode",
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        lambda state: torch.use_deterministic_algorithms(state[0], warn_only=state[1]),
    ),
    Watched("torch's backends", _backends, _set_backends),
    Watched("torch's handling of tiny numbers", lambda: TINY * 0.5 == 0, torch.set_flush_denormal),
    Watched(
        "torch's anomaly mode",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda state: torch.autograd.set_detect_anomaly(*state),
    ),
    Watched("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    Watched("torch's global hooks", _hooks, _set_hooks),
    Watched("torch's modes and hooks of saved tensors", _modes_entered, _leave_modes),
    Watched("the code of functions", lambda: [one.__code__ for one in FUNCTIONS], _set_codes),
    Watched("numpy's handling of errors", np.geterr, lambda state: np.seterr(**state)),
    Watched(
        "the environment variables", lambda: dict(os.environ), lambda variables: refill(os.environ, variables)
    ),
    Watched("the working directory", _folder, os.chdir),
    Watched("the filters of warnings", lambda: list(warnings.filters), _set_filters),
    Watched("the search path of modules", lambda: list(sys.path), _set_path),
    Watched("the garbage collector", gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()),
    Watched("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Watched("the locale", lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
    Watched("the handlers of signals", _handlers, _set_handlers),
)  # fmt: skip


@lru_cache(1)
def _own(modules: int) -> list[Any]:
    """The modules of heatproof and its plugins, with their classes, when so many ``modules`` are loaded."""
    loaded = [module for name, module in sys.modules.copy().items() if name.startswith("heatproof")]
    classes = [(module, value) for module in loaded for value in vars(module).values() if isinstance(value, type)]
    return loaded + [cls for module, cls in classes if cls.__module__ == module.__name__]


class Process:
    """The state of the process when this object was made, with the members of ``OWNERS`` and of further owners.

    Of heatproof and its plugins, functions and classes are watched: other values may be filled when they are needed.
    """

    def __init__(self, owners: Iterable[Any] = ()):
        self.values = [watched.read() for watched in WATCHED]
        self.members = {owner: vars(owner).copy() for owner in (*OWNERS, *_own(len(sys.modules)), *owners)}

    def changes(self) -> list[str]:
        """The names of the parts that have changed since."""
        return [name for name, _ in self._changed()]

    def undo(self) -> list[str]:
        """Restore everything that has changed since, and return the names."""
        changed = list(self._changed())
        for _, restore in changed:
            restore()
        return [name for name, _ in changed]

    def _changed(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """The name of each part that has changed, and what restores it."""
        for part, value in zip(WATCHED, self.values):
            if part.read() != value:
                yield f"{part.name} of the process", partial(part.restore, value)
        for owner, members in self.members.items():
            if not same(vars(owner), members):
                for name in _replaced(owner, members):
                    yield f"{name} of {owner.__name__}", partial(_set_member, owner, name, members)


def _set_member(owner: Any, name: str, members: Mapping[str, Any]) -> None:
    if name in members:
        setattr(owner, name, members[name])
    else:
        delattr(owner, name)


def refill(members: MutableMapping[str, Any], before: Mapping[str, Any]) -> None:
    """Restore the members of a mapping that others refer to."""
    members.clear()
    members.update(before)


def same(members: Any, before: Any) -> bool:
    """Whether all members are the same objects; a replaced one may be of a class that refuses to be compared."""
    try:
        return bool(members == before)
    except Exception:
        return False


def _replaced(owner: Any, before: Mapping[str, Any]) -> list[str]:
    """The members that were replaced or deleted, or now hide an inherited method; imports may add other names."""
    now = vars(owner)
    replaced = [name for name, member in before.items() if now.get(name, Process) is not member]
    if getattr(owner, "__module__", owner.__name__).startswith("heatproof"):
        replaced = [name for name in replaced if callable(before[name])]
    added = [name for name in now.keys() - before.keys() if isinstance(owner, type)]
    return replaced + [name for name in added if callable(getattr(owner.__base__, name, None))]
