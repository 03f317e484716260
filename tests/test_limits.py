"""Limits on the code of plugins: they interrupt it where this does no harm, and leave the process as it was."""

import gc
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from heatproof.containment import no_exit
from heatproof.errors import HeatproofError, PluginError
from heatproof.limits import exits_are_errors, silent_stdout, time_limit


def hang() -> None:
    time.sleep(20)


def catch_errors() -> None:
    while True:
        with suppress(Exception):
            time.sleep(20)


def catch_all() -> None:
    with suppress(BaseException):
        time.sleep(20)


def catch_twice() -> None:
    for _ in range(2):
        with suppress(BaseException):
            time.sleep(20)


@pytest.mark.parametrize("work", [hang, catch_errors, catch_all, catch_twice])
def test_code_that_takes_too_long_is_an_error(work: Any) -> None:
    start = time.monotonic()
    with pytest.raises(HeatproofError, match="too slow"), time_limit(0.2, "too slow"):
        work()
    assert time.monotonic() - start < 10


def test_quick_code_is_left_alone() -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with time_limit(0.2, "too slow"):
        pass
    time.sleep(0.3)
    assert signal.getsignal(signal.SIGALRM) is handler


def test_errors_and_interrupts_pass() -> None:
    for error in (KeyError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(error)), time_limit(5, "too slow"):
            raise error


def hang_twice(first: float, second: float) -> None:
    """Hang within an inner limit, do nothing within another, and hang again."""
    with pytest.raises(HeatproofError, match="inner"), time_limit(first, "inner"):
        hang()
    with time_limit(second, "inner"):
        pass
    hang()


@pytest.mark.parametrize(("outer", "inner"), [(0.5, 0.1), (0.1, 0.3)])
def test_a_limit_inside_another_leaves_the_outer_one(outer: float, inner: float) -> None:
    """Also one that passes inside the inner one, which then comes afterwards."""
    with pytest.raises(HeatproofError, match="outer"), time_limit(outer, "outer"):
        hang_twice(inner, 100)


def test_a_with_block_is_left_completely() -> None:
    steps: list[str] = []

    @contextmanager
    def guard() -> Iterator[None]:
        yield
        time.sleep(0.5)
        steps.append("restored")

    def work() -> None:
        with guard():
            pass
        hang()

    with pytest.raises(HeatproofError, match="too slow"), time_limit(0.2, "too slow"):
        work()
    assert steps == ["restored"]


def test_a_limit_keeps_nothing_of_its_callers_alive() -> None:
    """Their tensors must be free at once, not when the garbage collector runs."""

    def work() -> Any:
        value = HeatproofError("something large")
        with time_limit(5, "too slow"):
            return weakref.ref(value)

    gc.disable()
    try:
        assert work()() is None
    finally:
        gc.enable()


def test_another_thread_is_not_interrupted() -> None:
    ended = []

    def work() -> None:
        with time_limit(0.05, "too slow"):
            time.sleep(0.2)
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended


@pytest.mark.parametrize(("leave", "text"), [(sys.exit, "0"), (lambda code: os._exit(code), "os._exit(0)")])
def test_exits_become_errors_and_the_process_goes_on(leave: Any, text: str) -> None:
    before = os._exit
    with pytest.raises(PluginError) as caught, exits_are_errors():
        leave(0)
    assert re.search(
        rf"test_limits\.py:\d+ tried to end the process \(SystemExit: {re.escape(text)}\)", str(caught.value)
    )
    assert os._exit is before


def test_a_reader_that_has_gone_is_no_fault_of_a_plugin() -> None:
    """As of ``heatproof run … | head``."""

    def print_table() -> None:
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            sys.exit(1)

    with pytest.raises(SystemExit), exits_are_errors():
        print_table()


def test_a_process_that_the_block_forks_may_end() -> None:
    """As those of a ``DataLoader`` do."""
    with exits_are_errors(), no_exit():
        process = multiprocessing.get_context("fork").Process(target=os._exit, args=(7,))
        process.start()
        process.join()
    assert process.exitcode == 7


def test_nothing_reaches_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    with silent_stdout():
        print("python")
        os.write(1, b"descriptor\n")
        sys.stdout.close()
        sys.stderr.close()
        os.close(1)
    print("after")
    output = capfd.readouterr()
    assert output.out == "after\n"
    assert sorted(output.err.split()) == ["descriptor", "python"]
