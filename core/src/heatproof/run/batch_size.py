"""The number of images per pass, measured for a model on a device."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..batch import Batch
from ..digests import digest
from ..model import Model
from ..passes import gradients
from ..plan.sample_cache import first_readable
from ..plan.task import Task
from ..records import Sample, UnitKind
from ..regions import whole
from ..results.store import Run

GAIN = 0.9
"""A larger pass must take less than this share of the time per image; otherwise the smaller one is used."""


def settled_rows(run: Run, task: Task) -> int:
    """The images per pass of a task: from the config, from the run folder, or measured and written there."""
    rows = task.rows or run.repairing(lambda: known_rows(run, task.model, task.device))
    if rows is not None:
        return rows
    rows = measure_rows(task, task.device)
    _, key = rows_part(task.model, task.device)
    return int(run.settled(key, rows=rows, model=task.model.describe(), device=task.device)["rows"])


def known_rows(run: Run, model: Model, device: str) -> int | None:
    """The images per pass of a model that a run has settled; None if it has not yet."""
    part = rows_part(model, device)
    return int(run.meta(*part)["rows"]) if run.has(*part) else None


def rows_part(model: Model, device: str) -> tuple[UnitKind, str]:
    """The kind and key of the unit with the measured images per pass of a model."""
    return "execution", f"rows-{digest([model.identity, device])}"


def candidates(device: str) -> tuple[int, ...]:
    """The numbers of images per pass that are measured."""
    return (1, 2, 4) if torch.device(device).type == "cpu" else (1, 2, 4, 8, 16, 32, 64)


def measure_rows(task: Task, device: str) -> int:
    """Double the images per pass as long as this saves more than a tenth of the time per image; return the last."""
    sample = first_readable(task.source.dataset, task.model, task.source.ids, task.cache)
    if sample is None:
        return 1
    best = float("inf")
    rows = 1
    for candidate in candidates(device):
        if task.most is not None and candidate > task.most:
            break
        try:
            seconds = seconds_of_pass(task.model, sample, candidate, device) / candidate
        except Exception:
            break  # too large for the memory, or an error of the model, which the task will report
        if seconds >= GAIN * best:
            break
        best = seconds
        rows = candidate
    return rows


def on_device(inputs: Mapping[str, Any], device: str, dtype: torch.dtype) -> dict[str, Any]:
    """A model's further inputs, with tensors moved to the device; those of float32 get the type of the images."""

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(device, dtype if value.dtype == torch.float32 else None)

    return {name: moved(value) for name, value in inputs.items()}


def seconds_of_pass(model: Model, sample: Sample, rows: int, device: str) -> float:
    """The seconds of a forward and backward pass over ``rows`` copies of a sample."""
    images = torch.from_numpy(np.stack([sample.image] * rows)).to(device, model.dtype)
    inputs = on_device(model.collate([sample] * rows), device, model.dtype)
    times = []
    for _ in range(2 if rows == 1 else 1):  # the first pass only warms up
        ids = [str(row) for row in range(rows)]
        batch = Batch(model, ids, images, [0] * rows, inputs=inputs, region=whole(model, images))
        start = time.perf_counter()
        gradients(batch)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        times.append(time.perf_counter() - start)
    return min(times)
