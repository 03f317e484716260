"""The parts of a run: sources of samples, combinations, units and tasks.

A *combination* is dataset split × model × target × explainer × reduction. A *chunk* is some consecutive ids of a
source. A *unit* is one combination over one chunk, a *task* all units of a model and chunk, run by one worker.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..batch import Request
from ..component import Component, mapped
from ..dataset import Dataset
from ..explainer import Explainer
from ..metric import Metric
from ..model import Model
from ..records import UnitKind, Verdict
from .keys import combination_key, prediction_key, score_key
from .sample_cache import NOWHERE, Cache

RUNNING = frozenset({"model", "explainer"})
"""The needs of a metric that runs the network."""

ASKING = RUNNING | {"prediction"}
"""The needs of a metric that make its scores depend on the model."""

LABELLED = "label="
"""Prefix of the target ``label=CLASS``: samples with this label, where a sample may have several."""


@dataclass(frozen=True)
class Source:
    """The samples of one dataset entry: the dataset, the name of the split, and the ids in order."""

    dataset: Dataset
    split: str
    ids: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """A key that is equal for all sources of the same samples."""
        return self.dataset.identity, self.split, self.ids


@dataclass(frozen=True)
class Combination:
    """One row of the ranking, with the ``layers`` and ``requests`` that its explainer needs of the model.

    ``judged`` means that a metric asks the model about the heatmaps. If none does, a model-free explainer uses only
    the grid of ``model``, and the target is empty.
    """

    source: Source
    model: Model
    target: str
    explainer: Explainer
    reduction: str
    seed: int
    verdict: Verdict
    judged: bool = False
    layers: tuple[str, ...] = field(kw_only=True)
    requests: tuple[Request, ...] = field(kw_only=True)

    @property
    def indifferent(self) -> bool:
        """Whether its heatmaps are the same for every model."""
        return "model_free" in self.explainer.traits

    @property
    def model_free(self) -> bool:
        """Whether it belongs to no model: its heatmaps are the same for all, and no metric asks a model about them."""
        return self.indifferent and not self.judged

    @cached_property
    def key(self) -> str:
        """The digest of everything that its heatmaps depend on, except the ids."""
        owner = self.model.grid if self.model_free else self.model.identity
        dataset = self.source.dataset.identity
        return combination_key(dataset, owner, self.target, self.explainer.identity, self.reduction, self.seed)

    def describe(self) -> dict[str, Any]:
        """The columns that name it in every table, with all settings that change its numbers."""
        model = label(self.model)
        model_settings = self.model.describe()
        if self.model_free:
            model = ""
            model_settings = {"grid_of": model_settings}
        return {
            "combination": self.key, "dataset": self.source.dataset.short, "split": self.source.split,
            "model": model, "target": self.target, "explainer": label(self.explainer), "reduction": self.reduction,
            "verdict": self.verdict.level, "verdict_reason": self.verdict.reason,
            "settings": {"dataset": self.source.dataset.describe(), "model": model_settings,
                         "explainer": self.explainer.describe(), "seed": self.seed},
        }  # fmt: skip


@dataclass(frozen=True)
class Skipped:
    """A combination that cannot run, and the reason."""

    dataset: str
    model: str
    explainer: str
    reason: str


@dataclass(frozen=True)
class Unit:
    """One combination over one chunk, with the metrics that score its heatmaps."""

    combination: Combination
    key: str
    metrics: tuple[Metric, ...]

    def scores(self, metric: Metric) -> str:
        """The key of the unit's scores by a metric; it contains the model if the metric uses the model."""
        if metric.needs & ASKING:
            return score_key(self.key, metric.identity, self.combination.model.identity)
        return score_key(self.key, metric.identity)


@dataclass(frozen=True)
class Task:
    """All units of a model and chunk, with ``rows`` images per pass, None until they are measured, at most ``most``.

    ``contents`` is the digest of the files of its samples when it was planned, empty without files.
    ``environment`` is the key of the versions and the device that its units are computed with.
    ``layers`` and ``requests`` are those of all units, also of finished ones: a resumed run computes the same bits.
    """

    source: Source
    model: Model
    ids: tuple[str, ...]
    units: tuple[Unit, ...]
    metrics: tuple[Metric, ...]
    layers: tuple[str, ...]
    requests: tuple[Request, ...]
    seed: int
    contents: str = ""
    device: str = "cpu"
    rows: int | None = None
    most: int | None = None
    cache: Cache = NOWHERE
    environment: str = ""
    time_limit: float | None = None

    @cached_property
    def prediction(self) -> str:
        """The key of the predictions over this chunk."""
        return prediction_key(self.source.dataset.identity, self.model.identity, self.ids, self.contents)

    def scores(self, metric: Metric) -> str:
        """The key of the scores by a metric without heatmaps; it contains the seed if the metric may be random."""
        if metric.needs & RUNNING:
            return score_key(self.prediction, metric.identity, self.seed)
        return score_key(self.prediction, metric.identity)

    def parts(self) -> Iterator[tuple[UnitKind, str]]:
        """The kind and key of everything that the task commits."""
        yield "predictions", self.prediction
        for metric in self.metrics:
            yield "scores", self.scores(metric)
        for unit in self.units:
            yield "heatmaps", unit.key
            for metric in unit.metrics:
                yield "scores", unit.scores(metric)


def label(component: Component) -> str:
    """The name with the settings that differ from the defaults: ``method(layer=conv1)``.

    A component with a Param ``name``, such as that of an architecture, has the value of this Param as its label.
    """
    if not component.entry_name and getattr(component.params, "name", None):
        return component.short
    return _with(component, component.changed_settings())


def labels(components: Iterable[Component]) -> dict[str, str]:
    """Identity of each component → its label; equal ones get the settings in which they differ: ``net(size=64)``.

    Where they differ by their weights, code or files, the start of the identity follows: ``net#3f9a1c``.
    """
    distinct = {component.identity: component for component in components}
    texts = {identity: label(component) for identity, component in distinct.items()}
    for text in [text for text, count in Counter(texts.values()).items() if count > 1]:
        equal = {identity: distinct[identity] for identity in texts if texts[identity] == text}
        texts |= _differences(equal)
    counts = Counter(texts.values())
    return {identity: f"{text}#{identity[:6]}" if counts[text] > 1 else text for identity, text in texts.items()}


def told_apart(components: Iterable[Component]) -> dict[str, str]:
    """Identity of each component → its name, or its label if several components have this name."""
    distinct = {component.identity: component for component in components}
    counts = Counter(component.short for component in distinct.values())
    short = {identity: component.short for identity, component in distinct.items() if counts[component.short] == 1}
    return labels(distinct.values()) | short


def _differences(components: Mapping[str, Component]) -> dict[str, str]:
    """Identity → the label of components whose labels are equal, with the settings in which they differ; or nothing."""
    settings = {identity: component.changed_settings() for identity, component in components.items()}
    names = dict.fromkeys(name for values in settings.values() for name in values)
    differing = [name for name in names if len({_text(values.get(name)) for values in settings.values()}) > 1]
    if not differing:
        return {}
    return {
        identity: _with(component, {name: settings[identity][name] for name in differing if name in settings[identity]})
        for identity, component in components.items()
    }


def _with(component: Component, settings: Mapping[str, Any]) -> str:
    """The name of a component with settings."""
    if not settings:
        return component.short
    return f"{component.short}({', '.join(f'{name}={_text(value)}' for name, value in settings.items())})"


def _text(value: Any) -> str:
    """A setting in a label: components by their names, paths by their last part."""
    return str(mapped(value, _leaf))


def _leaf(value: Any) -> Any:
    if isinstance(value, Component):
        return value.short
    if isinstance(value, Path):
        return value.name
    return value
