"""Remove units with failed cases, and damaged ones, to compute them again."""

from collections.abc import Sequence
from typing import Any

from ..plan.task import Task
from ..records import UnitKind
from ..results.checksums import DamagedUnit
from ..results.store import Run
from .batch_size import rows_part, settled_rows
from .execution import missing

TABLES: tuple[UnitKind, ...] = ("predictions", "scores")
"""The kinds of units of which also those of earlier configs are read: for a page, and to try failed cases again."""


def forget_damaged(run: Run, tasks: Sequence[Task]) -> None:
    """Remove damaged units of tasks, and all damaged predictions and scores; maps are verified when they are read."""
    parts = [(kind, key) for kind in TABLES for key in run.keys(kind)]
    parts += [part for task in tasks for part in (rows_part(task.model, task.device), *task.parts())]
    for kind, key in dict.fromkeys(parts):
        verify = run.meta if kind == "heatmaps" else run.verified
        if run.unit(kind, key).exists():
            try:
                verify(kind, key)
            except DamagedUnit as damage:
                run.discard(damage)


def again(run: Run, tasks: Sequence[Task]) -> list[Task]:
    """The tasks that have to compute units again which were damaged since the start of the run."""
    if not run.discarded:
        return []
    forget_damaged(run, tasks)
    for task in tasks:
        if rows_part(task.model, task.device) in run.discarded:
            settled_rows(run, task)
    return [task for task in tasks if missing(task, run) and not run.discarded.isdisjoint(task.parts())]


def forget_failures(run: Run, tasks: Sequence[Task]) -> int:
    """Remove every unit with a failed case and all scores that depend on it; returns the number of units removed."""
    units = [unit.key for task in tasks for unit in task.units]
    heatmaps = {key for key in units if any(case["status"] == "failed" for case in heatmap_cases(run, key))}
    predictions = {task.prediction for task in tasks if _failed(run, "predictions", task.prediction)}
    planned = {key for task in tasks for kind, key in task.parts() if kind == "scores"}
    scores = {key for key in planned if _failed(run, "scores", key)}
    for key in run.keys("scores") - scores:
        origin = run.meta("scores", key)
        if origin["heatmaps"] in heatmaps or origin["predictions"] in predictions:
            scores.add(key)
    removed: dict[UnitKind, set[str]] = {"scores": scores, "heatmaps": heatmaps, "predictions": predictions}
    for kind, keys in removed.items():
        for key in keys:
            run.remove(kind, key)
    return sum(map(len, removed.values()))


def heatmap_cases(run: Run, key: str) -> list[dict[str, Any]]:
    """The cases of a heatmap unit with their ``status`` and ``reason``; none if it is not committed."""
    if not run.has("heatmaps", key):
        return []
    return list(run.meta("heatmaps", key)["cases"])


def _failed(run: Run, kind: UnitKind, key: str) -> bool:
    """Whether a committed table has a failed case."""
    return run.has(kind, key) and "failed" in run.table(kind, key)["status"]
