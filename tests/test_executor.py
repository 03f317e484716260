"""The executor of the core, and the number of threads in a process."""

import os

import pytest
import torch

from heatproof.executor import Serial, torch_threads


def test_serial_runs_in_order_in_this_process_and_restores_threads() -> None:
    before = torch.get_num_threads()
    done: list[tuple[str, int, int]] = []
    Serial().run(
        ["a", "b", "c"], lambda job: (os.getpid(), torch.get_num_threads()),
        lambda job, result: done.append((job, *result)), lambda job, reason: pytest.fail(reason), 3,
    )  # fmt: skip
    assert done == [(name, os.getpid(), 3) for name in "abc"]
    assert torch.get_num_threads() == before


def test_threads_are_restored_after_the_block() -> None:
    before = torch.get_num_threads()

    def fail() -> None:
        with torch_threads(before + 2):
            assert torch.get_num_threads() == before + 2
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert torch.get_num_threads() == before
