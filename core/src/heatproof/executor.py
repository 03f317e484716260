"""Executors: where the tasks of a run are done, and what a process that does them needs."""

import ctypes
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeAlias, TypeVar

from threadpoolctl import threadpool_limits

from .component import Component, P

Job = TypeVar("Job")
Result = TypeVar("Result")
Work: TypeAlias = Callable[[Job], Result]
Done: TypeAlias = Callable[[Job, Result], None]
Lost: TypeAlias = Callable[[Job, str], None]

MMAP_MAX, TRIM_THRESHOLD = -4, -1
"""What ``mallopt`` calls them (malloc.h)."""


class Executor(Component[P], Generic[Job, Result, P]):
    """Runs tasks anywhere and in any order; a task may be run again, since whatever it commits stays."""

    @abstractmethod
    def run(
        self, tasks: Sequence[Job], work: Work[Job, Result], done: Done[Job, Result], lost: Lost[Job], threads: int
    ) -> None:
        """Call ``work`` on every task and ``done`` here with each result; ``lost`` when a task kills its workers."""
        raise NotImplementedError


class Serial(Executor[Job, Result]):
    """One task after the other in this process."""

    def run(
        self, tasks: Sequence[Job], work: Work[Job, Result], done: Done[Job, Result], lost: Lost[Job], threads: int
    ) -> None:
        """Run the tasks in order."""
        with torch_threads(threads):
            for task in tasks:
                done(task, work(task))


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed for the next pass; whether it could be told so, which only glibc can.

    Every pass frees the large blocks that the next one asks for. By itself glibc gives them back each time, and the
    system hands them out anew page by page, each zeroed first: up to a third of the time of a pass on a processor. The
    process holds on to the most that it ever needed; the values computed are the same.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, -1))


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """So many threads for torch, which the last bits depend on, and one for numpy's products.

    Those are small here, and two pools that wait for each other's threads cost tens of milliseconds a product.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
