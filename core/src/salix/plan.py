"""Config × catalog → combinations, units and tasks; what is skipped, and why.

A *combination* is dataset split × model × target × explainer × reduction. A *unit* is one combination over one chunk of
ids: one folder of the store. A *task* is all units of a model and chunk: what a worker runs, what a kill loses.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from .catalog import Catalog
from .config import DatasetEntry, RunConfig
from .dataset import Dataset
from .errors import ConfigError, DataError, ModelError, PluginError
from .explainer import Explainer
from .keyed import digest
from .metric import Metric
from .model import Model
from .records import Kind, Verdict

Fitted = Mapping[tuple[str, str, str], Metric]
"""(metric identity, dataset identity, grid) → the metric with its open Params filled."""


@dataclass(frozen=True)
class Source:
    """The samples of one dataset entry: the dataset, the name of the split, and the ids in order."""

    dataset: Dataset
    split: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Combination:
    """One row of the comparison. A model-free explainer only keeps ``model`` for its grid: its target is empty."""

    source: Source
    model: Model
    target: str
    explainer: Explainer
    reduction: str
    seed: int
    verdict: Verdict

    @property
    def model_free(self) -> bool:
        """Whether the explainer never looks at the model."""
        return "model_free" in self.explainer.traits

    @cached_property
    def key(self) -> str:
        """The digest of all that its heatmaps depend on, besides the ids."""
        place = self.model.grid if self.model_free else self.model.identity
        return digest(
            [self.source.dataset.identity, place, self.target, self.explainer.identity, self.reduction, self.seed]
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
        """The key of the unit's scores by a metric."""
        return digest(["scores", self.key, metric.identity])


@dataclass(frozen=True)
class Task:
    """All units of a model and chunk. ``layers`` is the union over them, finished or not, so that resuming gives the
    same bits."""

    source: Source
    model: Model
    ids: tuple[str, ...]
    units: tuple[Unit, ...]
    metrics: tuple[Metric, ...]
    layers: tuple[str, ...]
    seed: int
    device: str = "cpu"
    rows: int = 1

    @cached_property
    def prediction(self) -> str:
        """The key of the predictions over this chunk."""
        return digest(["predictions", self.source.dataset.identity, self.model.identity, list(self.ids)])

    def scores(self, metric: Metric) -> str:
        """The key of the scores of a metric that needs no heatmap."""
        return digest(["scores", self.prediction, metric.identity])

    def keys(self) -> Iterator[tuple[Kind, str]]:
        """Kind and key of everything that it commits."""
        yield "predictions", self.prediction
        for metric in self.metrics:
            yield "scores", self.scores(metric)
        for unit in self.units:
            yield "heatmaps", unit.key
            for metric in unit.metrics:
                yield "scores", unit.scores(metric)


@dataclass(frozen=True)
class Plan:
    """Everything a config asks for."""

    pairs: tuple[tuple[Source, Model], ...]
    combinations: tuple[Combination, ...]
    skipped: tuple[Skipped, ...]
    metrics: tuple[Metric, ...]
    chunk: int
    seed: int

    def tasks(self, fitted: Fitted) -> tuple[Task, ...]:
        """The tasks in order, with fitted metrics: per dataset and model, chunk by chunk."""
        tasks: list[Task] = []
        for source, model, combinations in self.jobs():
            layers = tuple(sorted({layer for item in combinations for layer in item.explainer.layers(model)}))
            heatmap, other = self._fitted(fitted, source, model)
            for ids in _chunks(source.ids, self.chunk):
                units = tuple(Unit(item, digest(["heatmaps", item.key, list(ids)]), heatmap) for item in combinations)
                tasks.append(Task(source, model, ids, units, other, layers, self.seed))
        return tuple(tasks)

    def jobs(self) -> list[tuple[Source, Model, list[Combination]]]:
        """Every dataset split and model with the combinations that the model hosts."""
        jobs = {_job(source, model): (source, model, list[Combination]()) for source, model in self.pairs}
        for item in self.combinations:
            jobs[_job(item.source, item.model)][2].append(item)
        return list(jobs.values())

    def _fitted(self, fitted: Fitted, source: Source, model: Model) -> tuple[tuple[Metric, ...], tuple[Metric, ...]]:
        """The metrics of a dataset and grid: those that score heatmaps, and the others."""
        own = [fitted.get((metric.identity, source.dataset.identity, model.grid), metric) for metric in self.metrics]
        heatmap = tuple(metric for metric in own if "heatmap" in metric.needs)
        return heatmap, tuple(metric for metric in own if "heatmap" not in metric.needs)


def label(component: Dataset | Model | Explainer | Metric) -> str:
    """The registered name with the settings that differ from the defaults: ``gradcam(layer=conv1)``."""
    fields = type(component.params).model_fields
    defaults = {name: entry.default for name, entry in fields.items()}
    described = component.describe()
    changed = [
        f"{name}={_shown(described[name])}" for name in fields if getattr(component.params, name) != defaults[name]
    ]
    return component.short + (f"({', '.join(changed)})" if changed else "")


def _shown(value: Any) -> str:
    return str(value["use"]).rsplit("/", 1)[-1] if isinstance(value, Mapping) and "use" in value else str(value)


def make_plan(config: RunConfig, catalog: Catalog) -> Plan:
    """The plan of a config; raises ``ConfigError`` when nothing can run."""
    sources = {id(entry): source(entry) for entry in _entries(config)}
    pairs = [(sources[id(entry)], model) for entry, model in _pairs(config)]
    kept: dict[tuple[str, str, str], Combination] = {}
    skipped: list[Skipped] = []
    for entry, model, explainer, target, reduction in _rows(config):
        found, why = _expanded(sources[id(entry)], model, explainer, target, reduction, config.seed)
        skipped.extend(why)
        kept |= {_place(item): item for item in found}
    kept |= _baselines(config, catalog, list(kept.values()))
    if not kept and all("heatmap" in metric.needs for metric in config.metrics):
        reasons = "; ".join(sorted({item.reason for item in skipped})) or "no dataset, model and explainer are given"
        raise ConfigError(f"no combination of this config can run: {reasons}.")
    return Plan(tuple(pairs), tuple(kept.values()), tuple(skipped), tuple(config.metrics), config.chunk, config.seed)


def source(entry: DatasetEntry) -> Source:
    """The samples that a dataset entry stands for; raises ``DataError`` when there are none."""
    ids = list(entry.ids) if entry.ids else entry.component.ids(entry.split)
    if entry.ids and (unknown := sorted(set(entry.ids) - set(entry.component.ids(entry.split)))):
        raise DataError(f"{entry.component.short} has no sample {unknown[0]!r} in split {entry.split or 'all'}.")
    chosen = tuple(ids[: entry.limit])
    if not chosen:
        raise DataError(
            f"{entry.component.short} has no samples in split {entry.split or 'all'}; "
            "check its folder with `salix data check`, or choose another split."
        )
    return Source(entry.component, entry.split or "all", chosen)


def _place(combination: Combination) -> tuple[str, str, str]:
    return combination.key, combination.source.split, digest(list(combination.source.ids))


def _entries(config: RunConfig) -> Iterable[DatasetEntry]:
    return [*config.datasets, *(row.dataset for row in config.combinations)]


def _pairs(config: RunConfig) -> Iterable[tuple[DatasetEntry, Model]]:
    return [*product(config.datasets, config.models), *((row.dataset, row.model) for row in config.combinations)]


def _job(source: Source, model: Model) -> tuple[str, str, tuple[str, ...], str]:
    return source.dataset.identity, source.split, source.ids, model.identity


def _rows(config: RunConfig) -> Iterator[tuple[DatasetEntry, Model, Explainer, str, str]]:
    """The cross product of the lists, then the explicit rows."""
    yield from product(config.datasets, config.models, config.explainers, map(str, config.targets), config.reductions)
    for row in config.combinations:
        targets = [row.target] if row.target is not None else config.targets
        reductions = [row.reduction] if row.reduction is not None else config.reductions
        yield from product([row.dataset], [row.model], [row.explainer], map(str, targets), reductions)


def _expanded(
    source: Source, model: Model, explainer: Explainer, target: str, reduction: str, seed: int
) -> tuple[list[Combination], list[Skipped]]:
    """The combinations that one row stands for, and those that cannot run."""
    named = (source.dataset.short, label(model), label(explainer))
    try:
        variants = tuple(explainer.expand(model))
        verdicts = [variant.verdict(model) for variant in variants]
        target = _target(source.dataset, model, explainer, target)
        for variant in variants:
            variant.layers(model)
    except (ModelError, PluginError) as error:
        return [], [Skipped(*named, str(error))]
    made = [
        Combination(source, model, target, variant, reduction, seed, verdict)
        for variant, verdict in zip(variants, verdicts)
    ]
    skipped = [
        Skipped(named[0], named[1], label(item.explainer), f"undefined because {item.verdict.reason}")
        for item in made
        if item.verdict.level == "undefined"
    ]
    return [item for item in made if item.verdict.level != "undefined"], skipped


def _target(dataset: Dataset, model: Model, explainer: Explainer, target: str) -> str:
    """The target as the tables name it: empty for model-free maps, ``logit`` where there is only one."""
    if "model_free" in explainer.traits:
        return ""
    if model.head in ("ordinal", "regression"):
        return "logit"
    if target == "label" and not set(dataset.classes) & set(model.classes):
        raise ModelError(
            f"target 'label' needs classes that {dataset.short} and {model.short} share by name; they share none"
        )
    if target not in ("predicted", "label"):
        return model.classes[model.target(int(target) if target.lstrip("-").isdigit() else target)]
    return target


def _baselines(
    config: RunConfig, catalog: Catalog, combinations: list[Combination]
) -> dict[tuple[str, str, str], Combination]:
    """The random baseline once per dataset split, grid and reduction, hosted by the first model of the grid."""
    if not any("heatmap" in metric.needs for metric in config.metrics):
        return {}
    random = catalog.create("explainer", "random", {})
    if not isinstance(random, Explainer):
        raise PluginError(f"{random.name} is no explainer; install salix-baseline for the random baseline.")
    made = (
        Combination(item.source, item.model, "", random, "max", config.seed, Verdict("exact")) for item in combinations
    )
    baselines: dict[tuple[str, str, str], Combination] = {}
    present = {_place(item) for item in combinations}
    for item in made:
        if _place(item) not in present:
            baselines.setdefault(_place(item), item)
    return baselines


def _chunks(ids: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(ids[start : start + size]) for start in range(0, len(ids), size))
