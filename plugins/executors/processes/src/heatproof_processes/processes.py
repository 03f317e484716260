"""Runs tasks in local processes; a killed worker does not end the run."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing.context import BaseContext

from pydantic import Field

from heatproof.component import Params
from heatproof.executor import Done, Executor, Job, Lost, Result, Work, keep_freed_memory, torch_threads

_worker_contexts = ExitStack()
"""The contexts that stay open for the lifetime of a worker process."""


class ProcessesParams(Params):
    """The number of worker processes, and how many workers a task may crash before it counts as lost."""

    workers: int = Field(default=2, ge=1, le=1000)
    attempts: int = Field(default=2, ge=1, le=100)


class Processes(Executor[Job, Result, ProcessesParams]):
    """A pool of local processes; after a worker is killed, a new pool runs the unfinished tasks again."""

    def run(
        self, tasks: Sequence[Job], work: Work[Job, Result], done: Done[Job, Result], lost: Lost[Job], threads: int
    ) -> None:
        """Keep every worker busy; call ``lost`` for a task that crashed ``attempts`` workers while it ran alone."""
        waiting = list(enumerate(tasks))
        suspects: set[int] = set()
        crashes = [0] * len(tasks)
        while waiting:
            # After a crash each suspect runs alone: the crash then names its cause and stops no other task.
            alone = [(index, task) for index, task in waiting if index in suspects][:1]
            finished, interrupted = self._run_pool(alone or waiting, work, done, threads)
            suspects |= {index for index, _ in interrupted}
            if len(interrupted) == 1:
                ((index, task),) = interrupted
                crashes[index] += 1
                if crashes[index] >= self.params.attempts:
                    lost(task, f"its worker process died {crashes[index]} times (killed, or out of memory)")
                    finished.add(index)
            waiting = [(index, task) for index, task in waiting if index not in finished]

    def _run_pool(
        self, entries: Sequence[tuple[int, Job]], work: Work[Job, Result], done: Done[Job, Result], threads: int
    ) -> tuple[set[int], list[tuple[int, Job]]]:
        """Run entries, tasks with their index, in one pool until all are done or the pool breaks.

        Returns the indices of the finished tasks, and the entries that were running when the pool broke.
        """
        workers = min(self.params.workers, len(entries))
        pool = ProcessPoolExecutor(workers, _context(work), initializer=_start_worker, initargs=(threads,))
        queue = deque(entries)
        running: dict[Future[Result], tuple[int, Job]] = {}
        finished: set[int] = set()

        def collect(future: Future[Result]) -> None:
            index, task = running[future]
            done(task, future.result())
            finished.add(index)
            del running[future]

        try:
            while queue or running:
                while queue and len(running) < workers:
                    index, task = queue.popleft()
                    running[pool.submit(work, task)] = (index, task)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    collect(future)
        except BrokenProcessPool:
            # Tasks that ended before the pool broke are finished.
            for future in wait(running).done:
                if future.exception() is None:
                    collect(future)
        except BaseException:
            _kill(pool)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return finished, list(running.values())


def _context(work: Callable[..., object]) -> BaseContext:
    """Choose how workers start: forked from a server that has the imports of ``work``, or else spawned."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # A functools.partial keeps its function as ``func``.
    context.set_forkserver_preload([getattr(work, "func", work).__module__])
    return context


def _kill(pool: ProcessPoolExecutor) -> None:
    # ProcessPoolExecutor.kill_workers exists only from Python 3.14 on.
    for process in list((pool._processes or {}).values()):
        process.kill()


def _start_worker(threads: int) -> None:
    """Prepare a worker: ignore Ctrl-C, which the parent handles, end with the parent, and set torch's threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker_contexts.enter_context(torch_threads(threads))


def _end_with_parent() -> None:
    """End this worker when its parent ends: a killed run leaves no process behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
