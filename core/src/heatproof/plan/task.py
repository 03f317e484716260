"""What a run consists of: combinations over sources of samples, cut into units and tasks.

A *combination* is dataset split × model × target × explainer × reduction. A *unit* is one combination over one chunk of
ids: one folder of the store. A *task* is all units of a model and chunk: what a worker runs, what a kill loses.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..batch import Request
from ..component import Component
from ..dataset import Dataset
from ..explainer import Explainer
from ..metric import Metric
from ..model import Model
from ..records import UnitKind, Verdict
from .keys import combination_key, prediction_key, score_key
from .sample_cache import NOWHERE, Cache

ASKING = frozenset({"prediction", "model", "explainer"})
"""Needs of a metric by which it sees the model."""

LABELLED = "label="
"""Begins the target of a combination over the samples that have a certain label, perhaps among others."""


@dataclass(frozen=True)
class Source:
    """The samples of one dataset entry: the dataset, the name of the split, and the ids in order."""

    dataset: Dataset
    split: str
    ids: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """What it shares with any other source of the same samples."""
        return self.dataset.identity, self.split, self.ids


@dataclass(frozen=True)
class Combination:
    """One row of the comparison. A model-free explainer only keeps ``model`` for its grid: its target is empty.

    Where a metric asks the model about maps, they are ``judged``: then also a model-free map belongs to a model and a
    target. ``layers`` and ``requests`` are what its explainer will ask of the model.
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
        """Whether its maps are the same for every model."""
        return "model_free" in self.explainer.traits

    @property
    def model_free(self) -> bool:
        """Whether it belongs to no model: its maps are the same for all, and no metric judges them by one."""
        return self.indifferent and not self.judged

    @cached_property
    def key(self) -> str:
        """The digest of all that its heatmaps depend on, besides the ids."""
        owner = self.model.grid if self.model_free else self.model.identity
        return combination_key(
            self.source.dataset.identity, owner, self.target, self.explainer.identity, self.reduction, self.seed
        )

    def describe(self) -> dict[str, Any]:
        """The columns that name it in every table, with each setting that changes the number."""
        settings = {
            "dataset": self.source.dataset.describe(),
            "model": {"grid_of": self.model.describe()} if self.model_free else self.model.describe(),
            "explainer": self.explainer.describe(),
            "seed": self.seed,
        }
        return {
            "combination": self.key,
            "dataset": self.source.dataset.short,
            "split": self.source.split,
            "model": "" if self.model_free else label(self.model),
            "target": self.target,
            "explainer": label(self.explainer),
            "reduction": self.reduction,
            "verdict": self.verdict.level,
            "verdict_reason": self.verdict.reason,
            "settings": settings,
        }


@dataclass(frozen=True)
class Skipped:
    """A combination that will not run, and why."""

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
        """The key of the unit's scores by a metric; the model counts where the metric sees it."""
        models = [self.combination.model.identity] if metric.needs & ASKING else []
        return score_key(self.key, metric.identity, *models)


@dataclass(frozen=True)
class Task:
    """All units of a model and chunk. ``layers`` and ``requests`` are the unions over them, finished or not, so that
    resuming gives the same bits. ``rows`` is None where the images per pass are still to be measured."""

    source: Source
    model: Model
    ids: tuple[str, ...]
    units: tuple[Unit, ...]
    metrics: tuple[Metric, ...]
    layers: tuple[str, ...]
    requests: tuple[Request, ...]
    seed: int
    device: str = "cpu"
    rows: int | None = None
    cache: Cache = NOWHERE

    @cached_property
    def prediction(self) -> str:
        """The key of the predictions over this chunk."""
        return prediction_key(self.source.dataset.identity, self.model.identity, self.ids)

    def scores(self, metric: Metric) -> str:
        """The key of the scores of a metric that needs no heatmap; the seed counts where the metric may draw."""
        seeds = [self.seed] if metric.needs & {"model", "explainer"} else []
        return score_key(self.prediction, metric.identity, *seeds)

    def parts(self) -> Iterator[tuple[UnitKind, str]]:
        """UnitKind and key of everything that it commits."""
        yield "predictions", self.prediction
        for metric in self.metrics:
            yield "scores", self.scores(metric)
        for unit in self.units:
            yield "heatmaps", unit.key
            for metric in unit.metrics:
                yield "scores", unit.scores(metric)


def label(component: Component) -> str:
    """The registered name with the settings that differ from the defaults: ``method(layer=conv1)``."""
    described, params = component.describe(), component.params
    changed = [
        f"{name}={_shown(described[name])}"
        for name, entry in type(params).model_fields.items()
        if getattr(params, name) != entry.default
    ]
    return component.short + (f"({', '.join(changed)})" if changed else "")


def told_apart(components: Iterable[Component]) -> dict[str, str]:
    """Identity → the shortest name that no other of these components has: the registered one, or with settings."""
    distinct = {component.identity: component for component in components}
    taken = Counter(component.short for component in distinct.values())
    return {
        identity: component.short if taken[component.short] == 1 else label(component)
        for identity, component in distinct.items()
    }


def _shown(value: Any) -> str:
    return str(value["use"]).rsplit("/", 1)[-1] if isinstance(value, Mapping) and "use" in value else str(value)
