"""Remove units with failed cases, and damaged ones, to compute them again."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..plan.task import Task
from ..records import UnitKind
from ..results.checksums import DamagedUnit
from ..results.store import Run


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
    units = [unit.key for task in tasks for unit in task.units]
    heatmaps = {key for key in units if any(case["status"] == "failed" for case in heatmap_cases(run, key))}
    predictions = {task.prediction for task in tasks if _failed(run, "predictions", task.prediction)}
    planned = {key for task in tasks for kind, key in task.parts() if kind == "scores"}
    scores = {key for key in planned if _failed(run, "scores", key)}
    forget_damaged(run, [("scores", key) for key in run.keys("scores")])
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
