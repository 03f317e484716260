"""The parts of a task that killed its worker processes: each runs again alone, and only the culprit fails.

A part has the ids, layers, requests, rows, seed and keys of its task, so that it computes the same bits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..plan.task import Task, label


@dataclass(frozen=True)
class Part:
    """A part of a task by name, and everything that fails if the part kills its worker processes, too."""

    name: str
    task: Task
    dependent: Task


def predictions(task: Task) -> Iterator[Part]:
    """The predictions, on which everything else depends."""
    yield Part(f"the prediction of {task.model.short}", replace(task, units=(), metrics=()), task)


def heatmaps(task: Task) -> Iterator[Part]:
    """The heatmaps of every unit."""
    for unit in task.units:
        part = replace(task, units=(replace(unit, metrics=()),), metrics=())
        yield Part(label(unit.combination.explainer), part, part)


def scores(task: Task) -> Iterator[Part]:
    """Every metric on its own, and on the heatmaps of every unit."""
    for metric in task.metrics:
        part = replace(task, units=(), metrics=(metric,))
        yield Part(label(metric), part, part)
    for unit in task.units:
        for metric in unit.metrics:
            part = replace(task, units=(replace(unit, metrics=(metric,)),), metrics=())
            yield Part(f"{label(metric)} on {label(unit.combination.explainer)}", part, part)


WAVES = (predictions, heatmaps, scores)
"""The kinds of parts in their order: each needs those before it to be committed."""
