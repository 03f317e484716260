"""Runs the tasks of which something is missing, on the device and with the threads of the run."""

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
    """Who is told how a run goes; what a subclass does not take up is passed over."""

    def stage(self, text: str) -> None:
        """Something starts that takes a while."""

    def begin(self, units: int, done: int) -> None:
        """So many units are planned, so many of them are committed already."""

    def advance(self, units: int, failures: int, text: str) -> None:
        """Units were committed, some of their cases failed."""


def execute(
    tasks: Sequence[Task], executor: Executor[Task, Outcome], threads: int, run: Run, catalog: Catalog,
    observer: Observer,
) -> dict[str, float]:  # fmt: skip
    """Run the tasks of which something is missing, model by model; the seconds spent by kind of work."""
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
        for unit in outcome.units:
            catalog.call("heatproof_unit_finished", folder=run.folder, unit=unit)
        text = f"{task.source.dataset.short} × {task.model.short}, {len(task.ids)} samples"
        observer.advance(weight(task), outcome.failures, text)

    def lost(task: Task, reason: str) -> None:
        done(task, lose(run.folder, task, reason))

    if pending:
        executor.run(pending, partial(perform, run.folder), done, lost, threads)
    free()
    return seconds


def missing(task: Task, run: Run) -> bool:
    """Whether anything of a task is not committed yet."""
    return any(not run.has(kind, key) for kind, key in task.parts())


def weight(task: Task) -> int:
    """How many units a task is worth to the one who watches."""
    return max(1, len(task.units))


def settled_threads(config: RunConfig, run: Run) -> int:
    """Torch's threads per worker: as configured, as settled in the run, or the cores shared out."""
    workers = getattr(config.executor.params, "workers", 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return config.threads or int(run.settled("threads", threads=max(1, cores // workers))["threads"])


def device_of(config: RunConfig) -> str:
    """The device that ``device:`` stands for; raises ``HeatproofError`` when it is not there."""
    available = torch.cuda.is_available()
    name = config.device
    if name == "auto":
        name = "cuda" if available else "cpu"
    if name.startswith("cuda") and not available:
        raise HeatproofError(f"device {name!r} is not available on this machine; use device: cpu or auto.")
    return name
