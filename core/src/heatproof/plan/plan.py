"""Config × catalog → combinations and tasks; what is skipped, and why."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product

from ..chance import NAME
from ..config.settings import DatasetEntry, RunConfig
from ..dataset import Dataset, Tally
from ..errors import ConfigError, DataError, HeatproofError, ModelError, near
from ..explainer import Explainer
from ..metric import Metric
from ..model import Model
from ..records import Verdict
from ..registry.catalog import Catalog
from .keys import heatmap_key
from .splits import require_apart, tuning_of
from .task import ASKING, LABELLED, Combination, Skipped, Source, Task, Unit, label

Fitted = Mapping[tuple[str, str, str], Metric]
"""(metric identity, dataset identity, grid) → the metric with its open Params filled."""

Expansion = tuple[list[Combination], list[Skipped]]
"""The combinations that a row of a config stands for, and those that cannot run."""


@dataclass(frozen=True)
class Plan:
    """Everything a config asks for: what runs hands on, instead of the config, to results and to whoever shows it."""

    config: RunConfig
    pairs: tuple[tuple[Source, Model], ...]
    combinations: tuple[Combination, ...]
    skipped: tuple[Skipped, ...]
    metrics: tuple[Metric, ...]
    tuning: tuple[Source, ...]

    @cached_property
    def rejected(self) -> Mapping[str, list[Tally]]:
        """By the identity of each dataset what it leaves out; asked once, since it may read whole tables."""
        datasets = {source.dataset.identity: source.dataset for source, _ in self.pairs}
        return {identity: dataset.rejected() for identity, dataset in datasets.items()}

    def tasks(self, fitted: Fitted) -> tuple[Task, ...]:
        """The tasks in order, with fitted metrics: per dataset and model, chunk by chunk."""
        tasks: list[Task] = []
        for source, model, combinations in self.jobs():
            layers = tuple(sorted({layer for item in combinations for layer in item.layers}))
            requests = tuple(sorted({request for item in combinations for request in item.requests}))
            heatmap, other = self._fitted(fitted, source, model)
            size = self.config.chunk
            for start in range(0, len(source.ids), size):
                ids = source.ids[start : start + size]
                units = tuple(Unit(item, heatmap_key(item.key, ids), heatmap) for item in combinations)
                tasks.append(Task(source, model, ids, units, other, layers, requests, self.config.seed))
        return tuple(tasks)

    def jobs(self) -> list[tuple[Source, Model, list[Combination]]]:
        """Every dataset split and model with the combinations that the model hosts."""
        jobs = {(source.key, model.identity): (source, model, list[Combination]()) for source, model in self.pairs}
        for item in self.combinations:
            jobs[item.source.key, item.model.identity][2].append(item)
        return list(jobs.values())

    def _fitted(self, fitted: Fitted, source: Source, model: Model) -> tuple[tuple[Metric, ...], tuple[Metric, ...]]:
        """The metrics of a dataset and grid: those that score heatmaps, and the others."""
        metrics = [
            fitted.get((metric.identity, source.dataset.identity, model.grid), metric) for metric in self.metrics
        ]
        heatmap = tuple(metric for metric in metrics if "heatmap" in metric.needs)
        return heatmap, tuple(metric for metric in metrics if "heatmap" not in metric.needs)


def make_plan(config: RunConfig, catalog: Catalog) -> Plan:
    """The plan of a config; raises ``ConfigError`` when nothing can run, and what keeps a model from being built."""
    entries = [*config.datasets, *(row.dataset for row in config.combinations)]
    sources = {id(entry): source(entry) for entry in entries}
    requested = [(sources[id(entry)], model) for entry, model in _pairs(config)]
    pairs = tuple(pair for pair in requested if not _lacking(*pair))
    metrics = tuple({metric.identity: metric for metric in config.metrics}.values())
    reported = list(sources.values())
    tuning = [part for item in reported for part in tuning_of(item)] if any(metric.open for metric in metrics) else []
    require_apart([*tuning, *reported])
    judged = any("heatmap" in metric.needs and metric.needs & ASKING for metric in metrics)
    combinations: dict[Hashable, Combination] = {}
    skipped = [_unfit(*pair) for pair in requested if _lacking(*pair)]
    for possible, impossible in _expansions(config, sources, judged):
        skipped.extend(impossible)
        for item in possible:
            combinations.setdefault((item.key, item.source.key), item)
    if any("heatmap" in metric.needs for metric in metrics):
        for item in _baselines(catalog, list(combinations.values())):
            combinations[item.key, item.source.key] = item
    idle = all("heatmap" in metric.needs for metric in metrics) or (bool(requested) and not pairs)
    if not combinations and idle:
        reasons = "; ".join(sorted({item.reason for item in skipped})) or "no dataset, model and explainer are given"
        raise ConfigError(f"no combination of this config can run: {reasons}.")
    unique = tuple(dict.fromkeys(skipped))
    return Plan(config, pairs, tuple(combinations.values()), unique, metrics, tuple(tuning))


def _expansions(config: RunConfig, sources: Mapping[int, Source], judged: bool) -> list[Expansion]:
    """What every row of a config stands for, in order; one network after the other is built for it and freed again."""
    rows = list(_rows(config))
    models = {id(model): model for _, model in _pairs(config)}
    expansions: dict[int, Expansion] = {}
    for model in models.values():
        _require_built(model)
        for number, row in enumerate(rows):
            if row[1] is model and not _lacking(sources[id(row[0])], model):
                expansions[number] = _expanded(sources[id(row[0])], *row[1:], config.seed, judged)
        if len(models) > 1:
            model.forget()
    return [expansions[number] for number in sorted(expansions)]


def _require_built(model: Model) -> None:
    """Raise ``ModelError`` for a model whose network cannot be built."""
    try:
        _ = model.network
    except HeatproofError:
        raise
    except Exception as error:
        raise ModelError(f"{model.short} cannot build its network ({type(error).__name__}: {error}).") from error


def _lacking(source: Source, model: Model) -> list[str]:
    """The extras that a model reads of a sample and the dataset's have not."""
    return sorted(set(model.extras) - set(source.dataset.extras))


def _unfit(source: Source, model: Model) -> Skipped:
    """Why a model cannot take a dataset's samples."""
    dataset, names = source.dataset.short, ", ".join(_lacking(source, model))
    reason = f"{model.short} reads {names} of each sample, which {dataset} does not give; choose another dataset"
    return Skipped(dataset, label(model), "all", reason)


def source(entry: DatasetEntry) -> Source:
    """The samples that a dataset entry stands for; raises ``DataError`` when there are none."""
    dataset, split = entry.component, entry.split or "all"
    known = dataset.ids(entry.split)
    if len(set(known)) < len(known):
        twice = next(id for id in known if known.count(id) > 1)
        raise DataError(f"{dataset.short} has the id {twice!r} more than once in split {split}; ids must be unique.")
    if entry.ids and (unknown := sorted(set(entry.ids) - set(known))):
        raise DataError(f"{dataset.short} has no sample {unknown[0]!r} in split {split}; {near(unknown[0], known)}")
    chosen = tuple(dict.fromkeys(entry.ids or known))[: entry.limit]
    if not chosen:
        raise DataError(
            f"{dataset.short} has no samples in split {split}; "
            "check its folder with `heatproof data check`, or choose another split."
        )
    return Source(dataset, split, chosen)


def _pairs(config: RunConfig) -> Iterable[tuple[DatasetEntry, Model]]:
    return [*product(config.datasets, config.models), *((row.dataset, row.model) for row in config.combinations)]


def _rows(config: RunConfig) -> Iterator[tuple[DatasetEntry, Model, Explainer, int | str, str]]:
    """The cross product of the lists, then the explicit rows."""
    yield from product(config.datasets, config.models, config.explainers, config.targets, config.reductions)
    for row in config.combinations:
        targets = [row.target] if row.target is not None else config.targets
        reductions = [row.reduction] if row.reduction is not None else config.reductions
        yield from product([row.dataset], [row.model], [row.explainer], targets, reductions)


def _expanded(
    source: Source, model: Model, explainer: Explainer, target: int | str, reduction: str, seed: int, judged: bool
) -> Expansion:
    """The combinations that one row stands for, and those that cannot run."""
    names = (source.dataset.short, label(model))
    possible: list[Combination] = []
    impossible: list[Skipped] = []
    try:
        targets = _targets(source.dataset, model, explainer, target, judged)
        for variant in explainer.expand(model):
            layers, requests = tuple(variant.layers(model)), tuple(variant.requests(model))
            verdict = variant.verdict(model)
            if verdict.level == "undefined":
                impossible.append(Skipped(*names, label(variant), f"undefined because {verdict.reason}"))
            else:
                possible += [
                    Combination(
                        source, model, name, variant, reduction, seed, verdict, judged, layers=layers, requests=requests
                    )
                    for name in targets
                ]
    except HeatproofError as error:
        return [], [Skipped(*names, label(explainer), str(error))]
    except Exception as error:
        return [], [Skipped(*names, label(explainer), f"{type(error).__name__}: {error}")]
    return possible, impossible


def _targets(dataset: Dataset, model: Model, explainer: Explainer, target: int | str, judged: bool) -> list[str]:
    """The target as the tables name it: empty for maps that have none, ``logit`` where there is only one.

    Where samples have several labels at once, ``label`` is one target for each that the model knows.
    """
    if {"model_free", "targetless"} & explainer.traits and not judged:
        return [""]
    if model.head in ("ordinal", "regression") or len(model.classes) == 1:
        return ["logit"]
    if target == "predicted":
        return ["predicted"]
    if target != "label":
        return [model.classes[model.target(target)]]
    common = [name for name in dataset.classes if name in model.classes]
    if not common:
        raise ModelError(
            f"target 'label' needs classes that {dataset.short} and {model.short} share by name; they share none"
        )
    return [f"{LABELLED}{name}" for name in common] if dataset.multilabel else ["label"]


def _baselines(catalog: Catalog, combinations: list[Combination]) -> Iterable[Combination]:
    """Chance where a dataset split and grid lack a baseline, hosted by the first model of the grid.

    Judged maps need one for every model and target.
    """
    chance = catalog.create("explainer", NAME, {})
    assert isinstance(chance, Explainer)
    present = {_ground(item) for item in combinations if "baseline" in item.explainer.traits}
    lacking = {_ground(item): item for item in reversed(combinations) if _ground(item) not in present}
    bare = partial(replace, explainer=chance, reduction="max", verdict=Verdict("exact"), layers=(), requests=())
    return [bare(item, target=item.target if item.judged else "") for item in reversed(lacking.values())]


def _ground(combination: Combination) -> Hashable:
    """What a baseline depends on: the samples and the grid; where maps are judged, the model and the target."""
    model = combination.model
    owner = (model.identity, combination.target) if combination.judged else (model.grid, "")
    return combination.source.key, owner
