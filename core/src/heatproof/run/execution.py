"""Run the tasks that are not complete, on the device and with the threads of the run."""

import os
from collections.abc import Sequence
from functools import partial

import torch

from ..config.settings import RunConfig
from ..errors import HeatproofError
from ..executor import Executor
from ..plan.task import Task
from ..registry.catalog import Catalog
from ..results.store import Run
from .outcome import Outcome
from .residence import free
from .worker import lose, perform


class Observer:
    """Receives the progress of a run; a subclass overrides what it needs."""

    def stage(self, text: str) -> None:
        """A stage of the run starts, described by ``text``, such as ``writing tables``."""

    def step(self, text: str) -> None:
        """The stage has come to ``text``, such as ``writing tables: 3 of 40``; called as often as there is news."""

    def begin(self, units: int, done: int) -> None:
        """``units`` are planned, ``done`` of them are committed already."""

    def advance(self, units: int, failures: int, text: str) -> None:
        """``units`` were committed, with ``failures`` failed cases."""

    def notice(self, text: str) -> None:
        """The run has a remark for the user, such as a damaged unit that is computed again."""


def execute(
    tasks: Sequence[Task], executor: Executor[Task, Outcome], threads: int, run: Run, catalog: Catalog,
    observer: Observer,
) -> dict[str, float]:  # fmt: skip
    """Run the tasks that are not complete, model by model; returns the seconds by kind of work."""
    models = list(dict.fromkeys(task.model.identity for task in tasks))
    pending = sorted((task for task in tasks if missing(task, run)), key=lambda task: models.index(task.model.identity))
    units = sum(map(weight, tasks))
    observer.begin(units, units - sum(map(weight, pending)))
    seconds: dict[str, float] = {}

    def done(task: Task, outcome: Outcome) -> None:
        for name, value in outcome.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
        for message in outcome.messages:
            run.log(message)
        for notice in outcome.notices:
            observer.notice(notice)
        for unit in outcome.units:
            catalog.call("heatproof_unit_finished", folder=run.folder, unit=unit)
        text = f"{task.source.dataset.short} × {task.model.short}, {len(task.ids)} samples"
        observer.advance(weight(task), outcome.failures, text)

    def lost(task: Task, reason: str) -> None:
        done(task, lose(run.folder, task, reason))

    try:
        if pending:
            executor.run(pending, partial(perform, run.folder), done, lost, threads)
    finally:
        free()
    return seconds


def missing(task: Task, run: Run) -> bool:
    """Whether anything of a task is not committed yet."""
    return any(not run.has(kind, key) for kind, key in task.parts())


def weight(task: Task) -> int:
    """The number of units that a task counts as in the progress."""
    return max(1, len(task.units))


def settled_threads(config: RunConfig, run: Run) -> int:
    """Torch's threads per worker: as configured, as settled in the run, or the cores divided by the workers."""
    workers = getattr(config.executor.params, "workers", 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return config.threads or int(run.settled("threads", threads=max(1, cores // workers))["threads"])


def device_of(config: RunConfig) -> str:
    """The device of a config; raises ``HeatproofError`` when it is not available."""
    if torch.cuda.is_available():
        return config.device.replace("auto", "cuda")
    if config.device.startswith("cuda"):
        raise HeatproofError(f"device {config.device!r} is not available on this machine; use device: cpu or auto.")
    return config.device.replace("auto", "cpu")
