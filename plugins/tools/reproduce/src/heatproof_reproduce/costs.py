"""The costs of a reproduction before its start: passes, hours and disk space of each step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group

from heatproof.cli.tables import table
from heatproof.config import reading
from heatproof.config.components import create
from heatproof.errors import HeatproofError
from heatproof.run.costs import costs, pass_seconds

from .paper import Step
from .reproduction import Reproduction

if TYPE_CHECKING:
    from heatproof.registry.catalog import Catalog

CHECKPOINTS = 4
"""Copies of the weights that a training keeps: of the best epoch, and of its last state with two moments of Adam."""


@dataclass(frozen=True)
class Cost:
    """The passes over images, the seconds and the bytes on disk of a step; ``problem`` says why they are not known."""

    step: str
    forward: int | None = None
    backward: int | None = None
    seconds: float | None = None
    disk: int | None = None
    problem: str = ""


def costs_of(reproduction: Reproduction) -> list[Cost]:
    """Estimate every step; weights that a step will have trained are taken as random ones.

    Raises ``HeatproofError`` that names the step whose config cannot be run.
    """
    estimated = []
    for step in reproduction.paper.steps:
        try:
            estimated.append(_cost(reproduction, step))
        except HeatproofError as error:
            raise HeatproofError(f"step {step.name}: {error}") from error
    return estimated


def _cost(reproduction: Reproduction, step: Step) -> Cost:
    path = reproduction.config(step)
    overrides = list(reproduction.profile.settings.get(step.name, ()))
    document = reading.opened(path, overrides, "the settings of a step")
    reading.require_sound(document)
    if step.train:
        return _of_training(reproduction, step, document.data)
    absent = list(_absent(document.data, reproduction.output))
    changes = [*(f"{name}=null" for name in absent), *_seeded(document.data, absent, reproduction.catalog)]
    estimates = costs(path, reproduction.catalog, [*overrides, *changes])
    if not estimates:
        return Cost(step.name, problem="heatproof-costs is not installed")
    [estimate] = estimates[:1]
    return Cost(step.name, **{name: estimate[name] for name in ("forward", "backward", "seconds", "disk")})


def _seeded(data: Any, absent: Sequence[str], catalog: "Catalog") -> Iterator[str]:
    """A seed for each model without its weights: networks that differ by their training alone would else be equal."""
    for number, name in enumerate(absent):
        *above, last = name.split(".")
        entry = reduce(lambda value, key: value[int(key) if isinstance(value, list) else key], above, data)
        if last == "weights" and "use" in entry:
            fields = catalog.load(catalog.resolve("model", entry["use"])).Params.model_fields
            if "seed" in fields:
                yield f"{'.'.join(above)}.seed={number}"


def _absent(value: Any, output: Path, above: tuple[str, ...] = ()) -> Iterator[str]:
    """The dotted names of the settings that name files which earlier steps will write."""
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for name, entry in items:
        keys = (*above, str(name))
        if isinstance(entry, str) and name != "output" and Path(entry).is_relative_to(output):
            if not Path(entry).exists() and Path(entry).suffix:
                yield ".".join(keys)
        else:
            yield from _absent(entry, output, keys)


def _of_training(reproduction: Reproduction, step: Step, data: Mapping[str, Any]) -> Cost:
    """The cost of a training by its samples, its epochs and one measured pass."""
    folder = reproduction.config(step).parent
    described = {name: value for name, value in data["data"].items() if name not in ("use", "split", "limit", "ids")}
    dataset: Any = create(reproduction.catalog, "dataset", data["data"]["use"], described, folder)
    parts = data.get("split", {})
    if not isinstance(parts.get("train"), str):
        return Cost(step.name, problem="the split of the training names no splits of the data set")
    model_settings = {"use": data["model"]} if isinstance(data["model"], str) else dict(data["model"])
    model_settings.pop("weights", None)  # which change no cost, and may have to be downloaded
    model: Any = create(reproduction.catalog, "model", model_settings.pop("use"), model_settings, folder)
    train = len(dataset.ids(parts["train"]))
    others = sum(len(dataset.ids(parts[name])) for name in ("validation",) if isinstance(parts.get(name), str))
    epochs = int(data.get("epochs", 30))
    seconds = pass_seconds(dataset, model, dataset.ids(parts["train"]))
    weights = sum(value.nbytes for value in model.network.state_dict().values())
    model.forget()
    forward = epochs * (train + others)
    backward = epochs * train
    spent = seconds * (forward / 3 + backward * 2 / 3)
    return Cost(step.name, forward, backward, spent, CHECKPOINTS * weights)


def cost_table(estimated: Sequence[Cost]) -> Group:
    """Make the table of the steps with their sum."""
    rows = [(cost.step, cost.forward, cost.backward, _hours(cost.seconds), _size(cost.disk), cost.problem)
            for cost in estimated]  # fmt: skip
    known = [cost for cost in estimated if not cost.problem]
    sums = [sum(getattr(cost, name) or 0 for cost in known) for name in ("forward", "backward", "seconds", "disk")]
    rows.append(("all", sums[0], sums[1], _hours(sums[2]), _size(sums[3]), ""))
    columns = ("step", "forward", "backward", "hours", "disk", "not known because")
    title = (
        "Estimated cost: passes over single images, hours of their networks by one measured pass on this machine "
        "(without decoding, tables and pages), disk at most"
    )
    return table(title, columns, rows, numbers=columns[1:5], fold=("not known because",))


def _hours(seconds: float | None) -> str:
    """Write seconds as hours.

    >>> _hours(5400), _hours(30), _hours(None)
    ('1.5', '< 0.1', '')
    """
    if seconds is None or seconds != seconds:
        return ""
    return "< 0.1" if seconds < 360 else f"{seconds / 3600:,.1f}"


def _size(count: int | None) -> str:
    """Write bytes as gigabytes.

    >>> _size(2_540_000_000), _size(1_600_000), _size(None)
    ('2.5 GB', '< 0.1 GB', '')
    """
    if count is None:
        return ""
    return "< 0.1 GB" if count < 1e8 else f"{count / 1e9:,.1f} GB"
