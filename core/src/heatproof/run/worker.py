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
    work = Work(Run(folder), task, Outcome())
    with work.outcome.clock("all"):
        work.require_network()
        explain(work)
        Scoring(work).score()
    return work.outcome


def lose(folder: Path, task: Task, reason: str) -> Outcome:
    """Commit all cases of a task that cannot be done as failed, with the reason."""
    work = Work(Run(folder), task, Outcome())
    work.samples.fail_all(Failure(reason))
    explain(work)
    Scoring(work).score()
    work.outcome.messages.append(f"{task.source.dataset.short} × {task.model.short}: {reason}")
    return work.outcome
