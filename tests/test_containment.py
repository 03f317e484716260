"""Containment of exits: inside plugin code they are errors, elsewhere and in forks they end the process."""

import os
import sys

import pytest

from heatproof.containment import contained
from heatproof.errors import PluginError

LEAVING = {
    "sys.exit": lambda: sys.exit(0),
    "os._exit": lambda: os._exit(0),
    "os.abort": os.abort,
    "a message": lambda: sys.exit("gone"),
}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
def test_an_exit_is_an_error_of_the_plugin(leave):
    message = r"odd ended the process \(SystemExit (0|os\._exit\(0\)|os\.abort\(\)|gone)\); let it return"
    with pytest.raises(PluginError, match=message), contained("odd"):
        leave()


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()], ids=repr)
def test_errors_and_interrupts_pass(error):
    with pytest.raises(type(error)) as raised, contained("odd"):
        raise error
    assert raised.value is error


def test_the_inner_plugin_is_named():
    with pytest.raises(PluginError, match="inner ended"), contained("outer"), contained("inner"):
        os._exit(0)


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_a_fork_exits(inside):
    """A process that a plugin forks ends by ``os._exit``, as multiprocessing does."""
    if inside:
        with contained("odd"):
            child = os.fork()
            if child == 0:
                os._exit(3)
    else:
        child = os.fork()
        if child == 0:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
