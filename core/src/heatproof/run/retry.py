"""Count failed cases, and remove units with failed cases, and damaged ones, to compute them again."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..plan.task import Task
from ..records import Array, UnitKind
from ..results.checksums import DamagedUnit
from ..results.store import Run
from .batch_size import rows_part, settled_rows
from .execution import missing

TABLES: tuple[UnitKind, ...] = ("predictions", "scores")
"""The kinds of units of which also those of earlier configs are read: for a page, and to try failed cases again."""


def count_failures(run: Run, tasks: Sequence[Task], table: Mapping[str, Array]) -> int:
    """The number of cases, over all combinations, that failed or are invalid in their heatmap or in a score."""
    bad = np.isin(table["status"].astype(str), ("failed", "invalid"))
    failures = set(zip(table["combination"][bad], table["case"][bad]))
    for task in tasks:
        for unit in task.units:
            failures |= {(unit.combination.key, case) for case in _cases(run, unit.key, ("failed", "invalid"))}
    return len(failures)


def forget_damaged(run: Run, tasks: Sequence[Task]) -> None:
    """Remove damaged units of tasks, and all damaged predictions and scores; maps are verified when they are read."""
    parts = [(kind, key) for kind in TABLES for key in run.keys(kind)]
    parts += [part for task in tasks for part in (rows_part(task), *task.parts())]
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
        if rows_part(task) in run.discarded:
            settled_rows(run, task)
    return [task for task in tasks if missing(task, run) and not run.discarded.isdisjoint(task.parts())]


def forget_failures(run: Run, tasks: Sequence[Task]) -> int:
    """Remove every unit with a failed case and all scores that depend on it; returns the number of units removed."""
    heatmaps = {unit.key for task in tasks for unit in task.units if _cases(run, unit.key, ("failed",))}
    predictions = {task.prediction for task in tasks if _failed(run, "predictions", task.prediction)}
    planned = {key for task in tasks for kind, key in task.parts() if kind == "scores"}
    scores = {key for key in planned if _failed(run, "scores", key)}
    for key in run.keys("scores") - scores:
        origin = run.meta("scores", key)
        if origin["heatmaps"] in heatmaps or origin["predictions"] in predictions:
            scores.add(key)
    units: dict[UnitKind, set[str]] = {"scores": scores, "heatmaps": heatmaps, "predictions": predictions}
    for kind, keys in units.items():
        for key in keys:
            run.remove(kind, key)
    return sum(map(len, units.values()))


def _cases(run: Run, key: str, statuses: Collection[str]) -> list[str]:
    """The cases of a heatmap unit with one of these statuses; none if it is not committed."""
    if not run.has("heatmaps", key):
        return []
    return [case["id"] for case in run.meta("heatmaps", key)["cases"] if case["status"] in statuses]


def _failed(run: Run, kind: UnitKind, key: str) -> bool:
    """Whether a committed table has a failed case."""
    return run.has(kind, key) and "failed" in run.table(kind, key)["status"]
