"""Runs tasks in local processes; a killed worker does not end the run."""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from io import BytesIO
from multiprocessing.context import BaseContext
from typing import Any

from pydantic import Field

from heatproof.component import Params
from heatproof.errors import HeatproofError
from heatproof.executor import UNGUARDED, Done, Executor, Job, Lost, Result, Work, keep_freed_memory, torch_threads

_worker_contexts = ExitStack()
"""The contexts that stay open for the lifetime of a worker process."""
_leave = os._exit
"""The function itself: it is replaced while a plugin runs in this process."""


UNGUARDED_SENTENCE = (
    "every worker process of `executor: processes` imports the main script, and this one starts the run again when it "
    'is imported; put the run below `if __name__ == "__main__":`, or use executor: serial.'
)


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
            finished, interrupted, ending = self._run_pool(alone or waiting, work, done, threads)
            suspects |= {index for index, _ in interrupted}
            if len(interrupted) == 1:
                ((index, task),) = interrupted
                crashes[index] += 1
                if crashes[index] >= self.params.attempts:
                    lost(task, f"its worker process died {crashes[index]} times ({_named(ending)})")
                    finished.add(index)
            waiting = [(index, task) for index, task in waiting if index not in finished]

    def _run_pool(
        self, entries: Sequence[tuple[int, Job]], work: Work[Job, Result], done: Done[Job, Result], threads: int
    ) -> tuple[set[int], list[tuple[int, Job]], int]:
        """Run entries, tasks with their index, in one pool until all are done or the pool breaks.

        Returns the indices of finished tasks, the entries that ran when the pool broke, and the culprit's exit code.
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
            _require_start(pool)
            while queue or running:
                while queue and len(running) < workers:
                    index, task = queue.popleft()
                    running[pool.submit(_call, _pickled((work, task)))] = (index, task)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    collect(future)
        except BrokenProcessPool:
            # Tasks that ended before the pool broke are finished.
            for future in wait(running).done:
                if future.exception() is None:
                    collect(future)
            return finished, list(running.values()), _ending(pool)
        except BaseException:
            _kill(pool)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return finished, [], 0


def _context(work: Callable[..., object]) -> BaseContext:
    """Choose how workers start: forked from a server that has the imports of ``work``, or else spawned."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # A functools.partial keeps its function as ``func``.
    context.set_forkserver_preload([getattr(work, "func", work).__module__, "torch"])
    return context


def _require_start(pool: ProcessPoolExecutor) -> None:
    """Wait until a worker of a new pool has started; raises ``HeatproofError`` if they do not start."""
    if getattr(sys.modules["__main__"], "__file__", None) == "<stdin>":
        raise HeatproofError(
            "worker processes cannot import a script that is read from standard input; save it as a file, with the run "
            'below `if __name__ == "__main__":`, or use executor: serial.'
        )
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool:
        ending = _ending(pool)
        if ending == UNGUARDED:
            raise HeatproofError(UNGUARDED_SENTENCE) from None
        raise HeatproofError(
            f"a worker process ended while it started ({_named(ending)}); if its error is printed above, mend it; else "
            "run the same command again, with fewer workers or executor: serial."
        ) from None


class _Pickler(pickle.Pickler):
    """A pickler that remembers the last value that it had to reduce, which is the culprit when it fails."""

    value: Any = None

    def reducer_override(self, value: Any) -> Any:
        """Remember a value and reduce it as usual."""
        self.value = value
        return NotImplemented


def _pickled(job: tuple[Callable[..., Any], Any]) -> bytes:
    """Pickle a function and its argument; raises ``HeatproofError`` for a value that cannot be sent to a worker."""
    stream = BytesIO()
    pickler = _Pickler(stream)
    try:
        pickler.dump(job)
    except HeatproofError:
        raise
    except Exception as error:
        raise HeatproofError(
            f"{pickler.value!r:.200} cannot be sent to a worker process ({type(error).__name__}: {error}); define it "
            "at the top of a module that can be imported, or use executor: serial."
        ) from error
    return stream.getvalue()


def _call(job: bytes) -> Any:
    """Call a pickled function in a worker; raises ``HeatproofError`` if it cannot be loaded."""
    try:
        work, task = pickle.loads(job)
    except HeatproofError:
        raise
    except Exception as error:
        raise HeatproofError(
            f"a worker process cannot load what it should run ({type(error).__name__}: {error}); it does not know the "
            "classes and functions of a notebook: put them in a module that can be imported, or use executor: serial."
        ) from error
    try:
        return work(task)
    except SystemExit as error:
        # The process of a task that exits ends, as it does when C code exits.
        _leave(error.code if isinstance(error.code, int) else 1)


def _ending(pool: ProcessPoolExecutor) -> int:
    """The exit code of the worker that broke a pool, negative for a signal; the pool then terminates the others."""
    # The thread of the pool joins the processes; two threads must not wait for one process.
    thread: Any = pool._executor_manager_thread
    processes = list((pool._processes or {}).values())
    thread.join(10)
    if thread.is_alive():
        _kill(pool)
        thread.join()
    codes = [process.exitcode for process in processes if process.exitcode is not None]
    return next((code for code in codes if code != -signal.SIGTERM), -signal.SIGTERM)


def _named(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"exit status {code}"
    name = {number.value: number.name for number in signal.Signals}.get(-code, "unknown")
    remark = ": killed, or out of memory" if -code == signal.SIGKILL else ""
    return f"signal {-code}, {name}{remark}"


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
        _leave(1)
