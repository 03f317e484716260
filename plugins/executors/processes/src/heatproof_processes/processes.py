"""Runs tasks in local processes that survive a killed worker."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing.context import BaseContext

from pydantic import Field

from heatproof.component import Params
from heatproof.executor import Done, Executor, Job, Lost, Result, Work, keep_freed_memory, torch_threads


class ProcessesParams(Params):
    """How many worker processes, and how often a task may take its worker down before it is given up."""

    workers: int = Field(default=2, ge=1)
    attempts: int = Field(default=2, ge=1)


class Processes(Executor[Job, Result, ProcessesParams]):
    """A pool of local processes; when a worker is killed, the pool is made anew and unfinished tasks run again."""

    def run(
        self, tasks: Sequence[Job], work: Work[Job, Result], done: Done[Job, Result], lost: Lost[Job], threads: int
    ) -> None:
        """Keep every worker busy; a task that takes ``attempts`` workers down by itself is handed to ``lost``."""
        waiting, suspects, deaths = list(enumerate(tasks)), set[int](), [0] * len(tasks)
        while waiting:
            # After a crash the suspects run alone, so that the culprit is known and takes nobody along.
            alone = [entry for entry in waiting if entry[0] in suspects]
            finished, failed = self._round(alone[:1] or waiting, work, done, threads)
            suspects |= {index for index, _ in failed}
            for index, task in failed if len(failed) == 1 else ():
                deaths[index] += 1
                if deaths[index] >= self.params.attempts:
                    lost(task, f"its worker process died {deaths[index]} times (killed, or out of memory)")
                    finished.add(index)
            waiting = [entry for entry in waiting if entry[0] not in finished]

    def _round(
        self, entries: Sequence[tuple[int, Job]], work: Work[Job, Result], done: Done[Job, Result], threads: int
    ) -> tuple[set[int], list[tuple[int, Job]]]:
        """Run entries in one pool until all are done or the pool breaks: who finished, and who was under way."""
        workers = min(self.params.workers, len(entries))
        pool = ProcessPoolExecutor(workers, _context(work), initializer=_start_worker, initargs=(threads,))
        queue, running = list(reversed(entries)), dict[Future[Result], tuple[int, Job]]()
        finished: set[int] = set()

        def collect(future: Future[Result]) -> None:
            index, task = running[future]
            done(task, future.result())
            finished.add(index)
            del running[future]

        try:
            while queue or running:
                while queue and len(running) < workers:
                    entry = queue.pop()
                    running[pool.submit(work, entry[1])] = entry
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    collect(future)
        except BrokenProcessPool:
            for future in [each for each in wait(running).done if each.exception() is None]:
                collect(future)
        except BaseException:
            _kill(pool)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return finished, list(running.values())


def _context(work: Callable[..., object]) -> BaseContext:
    """A server that imports what workers need once and forks each of them, where the system has it."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([getattr(work, "func", work).__module__])
    return context


_process = ExitStack()
"""What holds for as long as a worker lives."""


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):
        process.kill()


def _start_worker(threads: int) -> None:
    """Leave Ctrl-C to the parent, which stops its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _process.enter_context(torch_threads(threads))


def _end_with_parent() -> None:
    """End this worker when its parent is gone, so that a killed run leaves no process behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
