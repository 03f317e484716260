"""Tasks run in worker processes, any of which may be killed."""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heatproof_jobs import work
from heatproof_processes.processes import Processes

pytestmark = pytest.mark.slow


@pytest.fixture
def executed(tmp_path: Path) -> Callable[..., Any]:
    """A function that runs jobs; it returns results and reasons of loss by index, and how often each job started."""

    def run(executor: Any, names: list[str], threads: int = 1) -> tuple[dict[int, Any], dict[int, str], list[int]]:
        jobs = []
        for index, name in enumerate(names):
            (tmp_path / str(index)).mkdir()
            jobs.append((name, str(tmp_path / str(index))))
        done: dict[int, Any] = {}
        lost: dict[int, str] = {}
        executor.run(
            jobs, work, lambda job, result: done.setdefault(jobs.index(job), result),
            lambda job, reason: lost.setdefault(jobs.index(job), reason), threads,
        )  # fmt: skip
        return done, lost, [len([*(tmp_path / str(index)).iterdir()]) for index in range(len(names))]

    return run


def test_processes_survive_killed_workers(executed: Any) -> None:
    """One job kills its worker once, one always; all others are done by workers with the given number of threads."""
    names = ["a", "kill once", "kill", "b", "c", "d"]
    done, lost, starts = executed(Processes(workers=2), names, threads=3)
    assert {index: (name, threads) for index, (name, _, threads) in done.items()} == {
        index: (name, 3) for index, name in enumerate(names) if name != "kill"
    }
    assert os.getpid() not in {process for _, process, _ in done.values()}
    assert lost == {2: "its worker process died 2 times (signal 9, SIGKILL: killed, or out of memory)"}
    assert starts[1] == 2
    assert starts[2] >= 2


def test_an_error_of_a_task_is_raised_in_the_parent(executed: Any) -> None:
    with pytest.raises(ValueError, match="the job cannot be done"):
        executed(Processes(workers=1), ["raise", "a"])


def test_an_interrupt_ends_the_workers(executed: Any, tmp_path: Path) -> None:
    """An error in ``done``, such as Ctrl-C, ends the run without waiting for running tasks."""
    jobs = [(name, str(tmp_path / name)) for name in ("a", "wait")]
    for _, folder in jobs:
        Path(folder).mkdir()

    def interrupted(job: Any, result: Any) -> None:
        while not [*Path(jobs[1][1]).iterdir()]:
            time.sleep(0.01)
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Processes(workers=2).run(jobs, work, interrupted, lambda job, reason: None, 1)
    for process in multiprocessing.active_children():
        process.join(20)
    assert multiprocessing.active_children() == []
    assert time.monotonic() - started < 50
