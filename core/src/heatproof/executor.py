"""Executors: where the tasks of a run are executed, and how their processes are set up."""

import ctypes
import multiprocessing
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeAlias, TypeVar

from threadpoolctl import threadpool_limits

from .component import Component, P
from .containment import leave

Job = TypeVar("Job")
Result = TypeVar("Result")
Work: TypeAlias = Callable[[Job], Result]
Done: TypeAlias = Callable[[Job, Result], None]
Lost: TypeAlias = Callable[[Job, str], None]

UNGUARDED = 79
"""The exit status of a worker process that starts a run while it imports the main script, which has no main guard."""
MMAP_MAX = -4  # M_MMAP_MAX and M_TRIM_THRESHOLD of glibc's malloc.h
TRIM_THRESHOLD = -1


class Executor(Component[P], Generic[Job, Result, P]):
    """Runs tasks anywhere and in any order; a task may run again, since committed units stay."""

    @abstractmethod
    def run(
        self, tasks: Sequence[Job], work: Work[Job, Result], done: Done[Job, Result], lost: Lost[Job], threads: int
    ) -> None:
        """Call ``work`` on every task, ``done`` in this process with each result; ``lost`` if a task kills workers."""
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


def end_if_unguarded() -> None:
    """End a worker process that runs the main script again instead of importing it; its executor says why."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        leave(UNGUARDED)


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for the next pass; returns False for any other C library.

    Every pass frees large blocks that the next pass allocates again. By default glibc returns them to the system, which
    zeroes each page again: up to a third of the time of a pass on a CPU. Afterwards, the process never shrinks.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, -1))


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set torch's number of threads, on which the last bits depend, and one thread for numpy's small products."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        # Two thread pools that wait for each other cost tens of milliseconds per product.
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
