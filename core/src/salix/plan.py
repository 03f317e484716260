"""Config × catalog → combinations and tasks; what is skipped, and why."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from .catalog import Catalog
from .config import DatasetEntry, RunConfig
from .dataset import Dataset
from .errors import ConfigError, DataError, ModelError, PluginError, SalixError, near
from .explainer import Explainer
from .keyed import digest
from .metric import Metric
from .model import Model
from .records import Verdict
from .task import Combination, Skipped, Source, Task, Unit, label

Fitted = Mapping[tuple[str, str, str], Metric]
"""(metric identity, dataset identity, grid) → the metric with its open Params filled."""


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
            rules = tuple(sorted({rule for item in combinations for rule in item.explainer.rules(model)}))
            heatmap, other = self._fitted(fitted, source, model)
            for ids in _chunks(source.ids, self.chunk):
                units = tuple(Unit(item, digest(["heatmaps", item.key, list(ids)]), heatmap) for item in combinations)
                tasks.append(Task(source, model, ids, units, other, layers, rules, self.seed))
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


def make_plan(config: RunConfig, catalog: Catalog) -> Plan:
    """The plan of a config; raises ``ConfigError`` when nothing can run, and what keeps a model from being built."""
    sources = {id(entry): source(entry) for entry in _entries(config)}
    pairs = [(sources[id(entry)], _built(model)) for entry, model in _pairs(config)]
    metrics = tuple({metric.identity: metric for metric in config.metrics}.values())
    kept: dict[tuple[str, str, str], Combination] = {}
    skipped: list[Skipped] = []
    for entry, model, explainer, target, reduction in _rows(config):
        found, why = _expanded(sources[id(entry)], model, explainer, target, reduction, config.seed)
        skipped.extend(why)
        for item in found:
            kept.setdefault(_place(item), item)
    if any("heatmap" in metric.needs for metric in metrics):
        for item in _baselines(catalog, list(kept.values()), config.seed):
            kept[_place(item)] = item
    if not kept and all("heatmap" in metric.needs for metric in metrics):
        reasons = "; ".join(sorted({item.reason for item in skipped})) or "no dataset, model and explainer are given"
        raise ConfigError(f"no combination of this config can run: {reasons}.")
    return Plan(tuple(pairs), tuple(kept.values()), tuple(dict.fromkeys(skipped)), metrics, config.chunk, config.seed)


def _built(model: Model) -> Model:
    """A model whose network was built; raises ``ModelError`` where it cannot be."""
    try:
        _ = model.network
    except SalixError:
        raise
    except Exception as error:
        raise ModelError(f"{model.short} cannot build its network ({type(error).__name__}: {error}).") from error
    return model


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
            "check its folder with `salix data check`, or choose another split."
        )
    return Source(dataset, split, chosen)


def _place(combination: Combination) -> tuple[str, str, str]:
    return combination.key, combination.source.split, digest(list(combination.source.ids))


def _entries(config: RunConfig) -> Iterable[DatasetEntry]:
    return [*config.datasets, *(row.dataset for row in config.combinations)]


def _pairs(config: RunConfig) -> Iterable[tuple[DatasetEntry, Model]]:
    return [*product(config.datasets, config.models), *((row.dataset, row.model) for row in config.combinations)]


def _job(source: Source, model: Model) -> tuple[str, str, tuple[str, ...], str]:
    return source.dataset.identity, source.split, source.ids, model.identity


def _rows(config: RunConfig) -> Iterator[tuple[DatasetEntry, Model, Explainer, int | str, str]]:
    """The cross product of the lists, then the explicit rows."""
    yield from product(config.datasets, config.models, config.explainers, config.targets, config.reductions)
    for row in config.combinations:
        targets = [row.target] if row.target is not None else config.targets
        reductions = [row.reduction] if row.reduction is not None else config.reductions
        yield from product([row.dataset], [row.model], [row.explainer], targets, reductions)


def _expanded(
    source: Source, model: Model, explainer: Explainer, target: int | str, reduction: str, seed: int
) -> tuple[list[Combination], list[Skipped]]:
    """The combinations that one row stands for, and those that cannot run."""
    dataset, named = source.dataset, (source.dataset.short, label(model))
    made, skipped = [], []
    try:
        aim = _target(dataset, model, explainer, target)
        for variant in explainer.expand(model):
            variant.layers(model)
            verdict = variant.verdict(model)
            if verdict.level == "undefined":
                skipped.append(Skipped(*named, label(variant), f"undefined because {verdict.reason}"))
            else:
                made.append(Combination(source, model, aim, variant, reduction, seed, verdict))
    except SalixError as error:
        return [], [Skipped(*named, label(explainer), str(error))]
    except Exception as error:
        return [], [Skipped(*named, label(explainer), f"{type(error).__name__}: {error}")]
    return made, skipped


def _target(dataset: Dataset, model: Model, explainer: Explainer, target: int | str) -> str:
    """The target as the tables name it: empty for maps that have none, ``logit`` where there is only one."""
    if {"model_free", "targetless"} & explainer.traits:
        return ""
    if model.head in ("ordinal", "regression") or len(model.classes) == 1:
        return "logit"
    if target == "label" and not set(dataset.classes) & set(model.classes):
        raise ModelError(
            f"target 'label' needs classes that {dataset.short} and {model.short} share by name; they share none"
        )
    if target in ("predicted", "label"):
        return str(target)
    return model.classes[model.target(target)]


def _baselines(catalog: Catalog, combinations: list[Combination], seed: int) -> Iterable[Combination]:
    """The random baseline where a dataset split and grid lack it, hosted by the first model of the grid."""
    try:
        random = catalog.create("explainer", "random", {})
    except PluginError as error:
        raise PluginError(f"heatmaps are compared with random ones: install salix-baseline ({error})") from error
    assert isinstance(random, Explainer)
    present = {_ground(item) for item in combinations if item.explainer.identity == random.identity}
    lacking = {_ground(item): item for item in reversed(combinations) if _ground(item) not in present}
    return [
        Combination(item.source, item.model, "", random, "max", seed, Verdict("exact"))
        for item in reversed(lacking.values())
    ]


def _ground(combination: Combination) -> tuple[str, str, tuple[str, ...], str]:
    """What a baseline depends on: the samples and the grid."""
    source = combination.source
    return source.dataset.identity, source.split, source.ids, combination.model.grid


def _chunks(ids: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(ids[start : start + size]) for start in range(0, len(ids), size))
