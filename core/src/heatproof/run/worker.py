"""The work on one task: explain what is missing, then score the heatmaps read from the store."""

from pathlib import Path

from ..plan.task import Task
from ..results.store import Run
from .heatmaps import explain
from .outcome import Failure, Outcome
from .scoring import Scoring
from .work import Work


def perform(folder: Path, task: Task) -> Outcome:
    """Compute and commit every unit of a task that is missing."""
    work = _started(folder, task)
    with work.outcome.clock("all"):
        work.require_network()
        _complete(work)
    for notice in work.model.notices():
        work.run.say_once(notice)
    return work.outcome


def lose(folder: Path, task: Task, reason: str) -> Outcome:
    """Commit all cases of a task that cannot be done as failed, with the reason."""
    work = _started(folder, task)
    work.samples.fail_all(Failure(reason))
    _complete(work)
    work.outcome.messages.append(f"{task.source.dataset.short} × {task.model.short}: {reason}")
    return work.outcome


def _started(folder: Path, task: Task) -> Work:
    outcome = Outcome()
    return Work(Run(folder, task.environment, outcome.notices.append), task, outcome)


def _complete(work: Work) -> None:
    """Explain and score what is missing, and what was damaged when it was read."""

    def compute() -> None:
        explain(work)
        Scoring(work).score()

    work.run.repairing(compute)
