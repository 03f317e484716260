"""The provenance of a run's numbers: versions, weights, data, seed, device and threads.

Every unit names its environment, which is committed once: a resumed run tells all, with the number of units of each.
"""

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import distributions
from typing import Any

import torch
from packaging.utils import canonicalize_name

from ..component import Component
from ..dataset import Tally
from ..digests import digest
from ..model import Model
from ..plan.task import Task, labels, told_apart
from ..records import UnitKind
from ..registry.catalog import Catalog
from ..results.checksums import DamagedUnit
from ..results.scores import metrics_of
from ..results.store import Run
from .batch_size import known_rows

ENVIRONMENT = ("versions", "plugins", "broken", "python", "system", "device", "threads")
"""The parts of an environment."""
Metas = Mapping[tuple[UnitKind, str], Mapping[str, Any]]
"""Kind and key → the ``unit.json`` of every committed unit of a run."""


def settled_environment(run: Run, catalog: Catalog, device: str, threads: int) -> str:
    """Commit what units are computed with from now on, besides the config; returns its key."""
    environment = {
        **plugins(catalog), "python": platform.python_version(), "device": device_name(device), "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip
    key = f"environment-{digest(environment)}"
    run.settled(key, **environment)
    return key


def provenance(run: Run, tasks: Sequence[Task], rejected: Mapping[str, list[Tally]]) -> dict[str, Any]:
    """The content of ``provenance.json``, without times and host names; ``rejected``: dataset identity → tallies."""
    parts = dict.fromkeys(part for task in tasks for part in task.parts())
    metas = {part: run.meta(*part) for part in parts if run.has(*part)}
    models = {task.model.identity: task.model for task in tasks}
    names = labels(models.values())
    sources = {(task.source.dataset.identity, task.source.split): task.source for task in tasks}
    titles = told_apart(source.dataset for source in sources.values())
    return {
        "environments": _environments(run, metas), "seed": tasks[0].seed, "precision": tasks[0].model.precision,
        "unscored": [unit.key for task in tasks for unit in task.units if not unit.metrics],
        "rows": {names[task.model.identity]: task.rows or known_rows(run, task.model, task.device) for task in tasks},
        "models": [_model(model, tasks, metas) | {"title": names[model.identity]} for model in models.values()],
        "datasets": [
            {**source.dataset.describe(), "title": titles[source.dataset.identity],
             "identity": source.dataset.identity, "split": source.split,
             "samples": len(source.ids), "synthetic": source.dataset.synthetic, "citation": source.dataset.citation,
             "rejected": [{"what": tally.what, "count": tally.count, "example": tally.example}
                          for tally in rejected.get(source.dataset.identity, ())]}
            for source in sources.values()
        ],
        "explainers": _described(unit.combination.explainer for task in tasks for unit in task.units),
        "metrics": _described(metrics_of(tasks)), "files": _files(metas),
    }  # fmt: skip


def _environments(run: Run, metas: Metas) -> list[dict[str, Any]]:
    """The environments of the units with their number, most units first."""
    counts = Counter(meta["environment"] for meta in metas.values())
    return [{"key": key, "units": count, **_environment(run, key)} for key, count in counts.most_common()]


def _environment(run: Run, key: str) -> dict[str, Any]:
    """The parts of an environment; the reason if they cannot be read any more."""
    try:
        content = run.meta("execution", key)
    except DamagedUnit as error:
        return {"lost": error.reason}
    return {name: content[name] for name in ENVIRONMENT}


def _model(model: Model, tasks: Sequence[Task], metas: Metas) -> dict[str, Any]:
    """The settings of a model, with the digests of the weights of its committed predictions and their number."""
    keys = dict.fromkeys(task.prediction for task in tasks if task.model.identity == model.identity)
    digests = Counter(metas["predictions", key]["weights"] for key in keys if ("predictions", key) in metas)
    weights = {key: count for key, count in digests.items() if key}
    return {**model.describe(), "identity": model.identity, "weights": weights}


def _described(components: Iterable[Component]) -> list[dict[str, Any]]:
    """Every component once with all its settings, in order of first use."""
    return list({component.identity: component.describe() for component in components}.values())


def _files(metas: Metas) -> dict[str, Any]:
    """The number of decoded files, and one digest of their names and contents."""
    files: dict[str, str] = {}
    for (kind, _), meta in metas.items():
        if kind == "predictions":
            files |= meta["files"]
    return {"decoded": len(files), "digest": digest(files)}


def plugins(catalog: Catalog) -> dict[str, Any]:
    """The plugins that work and the broken ones, and the versions of all distributions but those set apart."""
    broken = [vars(plugin) for plugin in catalog.broken]
    apart = {plugin.distribution for plugin in catalog.broken} - catalog.active.keys()
    installed = {name: version for name, version in versions().items() if canonicalize_name(name) not in apart}
    return {"versions": installed, "plugins": catalog.active, "broken": broken}


@cache
def versions() -> dict[str, str]:
    """The version of every installed distribution."""
    installed = [distribution.metadata for distribution in distributions()]  # every access parses the metadata again
    return {metadata["Name"]: metadata["Version"] for metadata in installed if metadata["Name"]}


def device_name(device: str) -> str:
    """The name of a device; of a GPU with its model."""
    if torch.device(device).type != "cuda":
        return device
    return f"{device} ({torch.cuda.get_device_name(torch.device(device))})"
