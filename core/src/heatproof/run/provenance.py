"""The provenance of a run's numbers: versions, weights, data, seed, device and threads."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import distributions
from typing import Any

import torch

from ..component import Component
from ..dataset import Tally
from ..digests import digest
from ..model import Model
from ..plan.task import Task, label
from ..results.scores import metrics_of
from ..results.store import Run
from .batch_size import known_rows


def provenance(run: Run, tasks: Sequence[Task], threads: int, rejected: Mapping[str, list[Tally]]) -> dict[str, Any]:
    """The content of ``provenance.json``, without times and host names; ``rejected``: dataset identity → tallies."""
    models = {task.model.identity: task.model for task in tasks}
    sources = {(task.source.dataset.identity, task.source.split): task.source for task in tasks}
    return {
        "versions": versions(), "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device_name(tasks[0].device), "threads": threads, "seed": tasks[0].seed,
        "rows": {label(task.model): task.rows or known_rows(run, task.model, task.device) for task in tasks},
        "models": [_model(run, model, tasks) for model in models.values()],
        "datasets": [
            {**source.dataset.describe(), "identity": source.dataset.identity, "split": source.split,
             "samples": len(source.ids), "synthetic": source.dataset.synthetic, "citation": source.dataset.citation,
             "rejected": [{"what": tally.what, "count": tally.count, "example": tally.example}
                          for tally in rejected.get(source.dataset.identity, ())]}
            for source in sources.values()
        ],
        "explainers": _described(unit.combination.explainer for task in tasks for unit in task.units),
        "metrics": _described(metrics_of(tasks)), "files": _files(run, tasks),
    }  # fmt: skip


def _model(run: Run, model: Model, tasks: Sequence[Task]) -> dict[str, Any]:
    """The settings of a model, with the digest of the weights of its first committed predictions."""
    keys = [task.prediction for task in tasks if task.model.identity == model.identity]
    digests = [run.meta("predictions", key)["weights"] for key in keys if run.has("predictions", key)]
    return {**model.describe(), "identity": model.identity, "weights": next(filter(None, digests), None)}


def _described(components: Iterable[Component]) -> list[dict[str, Any]]:
    """Every component once with all its settings, in order of first use."""
    return list({component.identity: component.describe() for component in components}.values())


def _files(run: Run, tasks: Sequence[Task]) -> dict[str, Any]:
    """The number of decoded files, and one digest of their names and contents."""
    files: dict[str, str] = {}
    for task in tasks:
        if run.has("predictions", task.prediction):
            files |= run.meta("predictions", task.prediction)["files"]
    return {"decoded": len(files), "digest": digest(files)}


def versions() -> dict[str, str]:
    """The version of every installed distribution."""
    installed = [distribution.metadata for distribution in distributions()]  # every access parses the metadata again
    return {metadata["Name"]: metadata["Version"] for metadata in installed if metadata["Name"]}


def device_name(device: str) -> str:
    """The name of a device; of a GPU with its model."""
    if torch.device(device).type != "cuda":
        return device
    return f"{device} ({torch.cuda.get_device_name(torch.device(device))})"
