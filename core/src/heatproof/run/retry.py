"""Count failed cases, and remove units with failed cases, and damaged ones, to compute them again."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from ..plan.task import Task
from ..records import Array, UnitKind
from ..results.checksums import DamagedUnit
from ..results.store import Run


def count_failures(run: Run, tasks: Sequence[Task], table: Mapping[str, Array]) -> int:
    """The number of cases, over all combinations, that failed or are invalid in their heatmap or in a score."""
    bad = np.isin(table["status"].astype(str), ("failed", "invalid"))
    failures = set(zip(table["combination"][bad], table["case"][bad]))
    for task in tasks:
        for unit in task.units:
            failures |= {(unit.combination.key, case) for case in _cases(run, unit.key, ("failed", "invalid"))}
    return len(failures)


def forget_damaged(run: Run, parts: Iterable[tuple[UnitKind, str]]) -> None:
    """Remove the units whose ``unit.json`` or table is damaged; maps are verified when they are read."""
    for kind, key in dict.fromkeys(parts):
        verify = run.meta if kind == "heatmaps" else run.verified
        if run.unit(kind, key).exists():
            try:
                verify(kind, key)
            except DamagedUnit as damage:
                run.discard(damage)


def forget_failures(run: Run, tasks: Sequence[Task]) -> int:
    """Remove every unit with a failed case and all scores that depend on it; returns the number of units removed."""
    heatmaps = {unit.key for task in tasks for unit in task.units if _cases(run, unit.key, ("failed",))}
    predictions = {task.prediction for task in tasks if _failed(run, "predictions", task.prediction)}
    planned = {key for task in tasks for kind, key in task.parts() if kind == "scores"}
    scores = {key for key in planned if _failed(run, "scores", key)}
    forget_damaged(run, [("scores", key) for key in run.keys("scores")])
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
