"""Limits on the code of plugins: its time, its exits, and the streams that it prints to."""

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

from . import containment
from .containment import no_exit
from .errors import HeatproofError, PluginError


class Overtime(BaseException):
    """Raised by a timer in code that takes too long; no ``except Exception`` catches it."""


@contextmanager
def time_limit(seconds: float, message: str) -> Iterator[None]:
    """Interrupt Python code in the main thread after ``seconds``, then raise ``HeatproofError`` with the message.

    Elsewhere, and where the system has no timer signals, nothing is interrupted. Limits may be nested.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    state = {"armed": True, "expired": False}

    def expire(number: int, frame: FrameType | None) -> None:
        if state["armed"] and _cleans_up(frame):
            signal.setitimer(signal.ITIMER_REAL, 0.01, 1)
        elif state["armed"]:
            state["expired"] = True
            raise Overtime

    start = time.monotonic()
    handler = signal.signal(signal.SIGALRM, expire)
    # Every second again, in case the code catches even the `Overtime`.
    delay, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        try:
            yield
        finally:
            state["armed"] = False
    except BaseException as error:
        if not state["expired"] or isinstance(error, KeyboardInterrupt):
            raise
    finally:
        state["armed"] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if delay:  # of somebody else
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, delay - time.monotonic() + start), interval)
    if state["expired"]:
        raise HeatproofError(message)


def _cleans_up(frame: FrameType | None) -> bool:
    """Whether code enters or leaves a ``with`` block, where an exception would prevent that it cleans up."""
    while frame is not None:
        if frame.f_code.co_name in ("__enter__", "__exit__"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def worker_ends_after(seconds: float, trace: Path) -> Iterator[None]:
    """End this process after ``seconds`` if it is a worker, whatever it is doing; ``trace`` then has its traceback."""
    if multiprocessing.parent_process() is None:
        yield
        return
    with trace.open("w", encoding="utf-8") as stream:
        faulthandler.dump_traceback_later(seconds, exit=True, file=stream)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            trace.unlink()


@contextmanager
def exits_are_errors() -> Iterator[None]:
    """Raise ``PluginError`` if code of a plugin tries to end this process."""
    try:
        with no_exit():
            yield
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):
            raise  # rich ends a command whose reader has gone, such as ``head``
        lines = traceback.extract_tb(error.__traceback__)
        caller = next(line for line in reversed(lines) if line.filename not in (__file__, containment.__file__))
        reason = f"{caller.filename}:{caller.lineno} tried to end the process (SystemExit: {error})"
        raise PluginError(f"{reason}; update or remove this plugin.") from error


class _Lasting:
    """A stream that stays open when a plugin closes it."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Close nothing."""


@contextmanager
def silent_stdout() -> Iterator[None]:
    """Send to stderr what the block prints; both streams stay open even if it closes them."""
    if sys.stdout is None or sys.stderr is None:  # a process without a console
        yield
        return
    stream: Any = _Lasting(sys.stderr)
    copies = [os.dup(number) for number in (1, 2) if os.path.exists(number)]
    if len(copies) == 2:
        os.dup2(2, 1)
    try:
        with redirect_stdout(stream), redirect_stderr(stream):
            yield
    finally:
        for number, copy in zip((1, 2), copies):
            os.dup2(copy, number)
            os.close(copy)
