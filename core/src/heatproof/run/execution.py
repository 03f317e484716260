"""Run the tasks that are not complete, on the device and with the threads of the run."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from ..config.settings import RunConfig
from ..errors import HeatproofError
from ..executor import Executor
from ..plan.task import Task
from ..registry.catalog import Catalog
from ..results.store import Run
from .outcome import Outcome
from .parts import WAVES, Part
from .residence import free
from .worker import lose, perform

Losses = list[tuple[Task, str]]
"""Tasks that killed their worker processes, with the reasons."""


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
    """Run the tasks that are not complete, and lost ones again part by part; returns the seconds by kind of work."""
    pending = _pending(tasks, run)
    units = sum(map(weight, tasks))
    observer.begin(units, units - sum(map(weight, pending)))
    seconds: dict[str, float] = {}

    def report(task: Task, outcome: Outcome, units: int) -> None:
        for name, value in outcome.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
        _report(outcome, run, catalog, observer)
        observer.advance(units, outcome.failures, f"{_named(task)}, {len(task.ids)} samples")

    def run_all(tasks: Sequence[Task], whole: bool = True) -> Losses:
        losses: Losses = []
        if tasks:
            executor.run(
                tasks, partial(perform, run.folder),
                lambda task, outcome: report(task, outcome, weight(task) if whole else 0),
                lambda task, reason: losses.append((task, reason)), threads,
            )  # fmt: skip
        return losses

    try:
        run.forget_overtime()
        lost = run_all(pending)
        for part, reason in _culprits(lost, run, partial(run_all, whole=False)):
            report(part.dependent, lose(run.folder, part.dependent, reason), 0)
        for task, _ in lost:
            observer.advance(weight(task), 0, _named(task))
        run.forget_overtime()
    finally:
        free()
    return seconds


def _report(outcome: Outcome, run: Run, catalog: Catalog, observer: Observer) -> None:
    """Log the messages of a task, pass its notices on, and let plugins react to its units."""
    for message in outcome.messages:
        run.log(message)
    for notice in outcome.notices:
        observer.notice(notice)
    for unit in outcome.units:
        catalog.call("heatproof_unit_finished", folder=run.folder, unit=unit)


def _pending(tasks: Sequence[Task], run: Run) -> list[Task]:
    """The tasks that are not complete, model by model; first those of the model whose network the plan has built."""
    models = {task.model.identity: task.model for task in tasks}
    order = sorted(models, key=lambda identity: not models[identity].built)
    return sorted((task for task in tasks if missing(task, run)), key=lambda task: order.index(task.model.identity))


def _culprits(lost: Losses, run: Run, run_all: Callable[[Sequence[Task]], Losses]) -> Iterator[tuple[Part, str]]:
    """Run the parts of lost tasks; yields those that are lost again, with reasons that name them."""
    for task, reason in lost:
        run.log(f"{_named(task)}: {reason}; its parts run again, each alone")
    for divide in WAVES:
        parts = [part for task, _ in lost for part in divide(task) if missing(part.task, run)]
        for culprit, reason in run_all([part.task for part in parts]):
            part = next(part for part in parts if part.task is culprit)
            yield part, f"{reason}; the last thing it ran was {part.name}"


def _named(task: Task) -> str:
    return f"{task.source.dataset.short} × {task.model.short}"


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
