"""The plan of a run, made of a config and a catalog: its combinations and tasks, and what is skipped and why."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from itertools import product

from ..chance import NAME
from ..component import renew
from ..config.choices import ExplainerChoice, MetricChoice
from ..config.settings import DatasetEntry, RunConfig, Target, in_precision
from ..containment import contained
from ..dataset import Dataset, Tally
from ..errors import ConfigError, DataError, HeatproofError, ModelError, near
from ..explainer import Explainer
from ..metric import Metric
from ..model import Model
from ..records import Verdict
from ..regions import RegionTarget, over_region, require_whole_image
from ..registry.catalog import Catalog
from ..source_files import refresh
from .choice import Choice, CombinationChoice, MetricSettingsChoice, compared_on, require_unseen
from .chunks import chunks
from .groups import require_groups
from .keys import predictions_key
from .sample_cache import first_readable
from .splits import require_apart, tuning_of
from .task import ASKING, LABELLED, Combination, Skipped, Source, Task, label

Fitted = Mapping[tuple[str, str, str], Metric]
"""(metric identity, dataset identity, grid) → the metric with its open Params filled."""

Selected = Mapping[str, tuple[Metric, ...]]
"""Key of a combination, or of a model's predictions → the metrics that were selected for it."""

Tuned = Mapping[tuple[str, str], Metric]
"""(metric identity, key of a combination) → the metric with the Params filled that depend on heatmaps."""


@dataclass
class Expansion:
    """What one row of a config gives: combinations, choices among combinations, and what cannot run."""

    combinations: list[Combination]
    skipped: list[Skipped]
    choices: list[CombinationChoice] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """Everything that a config asks for; runs, results and displays read it instead of the config."""

    config: RunConfig
    pairs: tuple[tuple[Source, Model], ...]
    combinations: tuple[Combination, ...]
    skipped: tuple[Skipped, ...]
    metrics: tuple[Metric, ...]
    tuning: tuple[Source, ...]
    choices: tuple[CombinationChoice, ...] = ()
    metric_entries: tuple[MetricChoice, ...] = ()

    @property
    def metric_choices(self) -> list[MetricSettingsChoice]:
        """The metrics to select, for every model and, where they measure heatmaps, every combination."""
        choices = []
        for (source, model, items), entry in product(self.jobs(), self.metric_entries):
            compared = compared_on(source, entry)
            owners: list[Combination | None] = [replace(item, source=compared) for item in items]
            if "heatmap" not in entry.candidates[0].needs:
                owners = [None]
            choices += [MetricSettingsChoice(source, compared, model, entry, owner) for owner in owners]
        return choices

    @property
    def compared(self) -> tuple[Source, ...]:
        """The samples on which candidates are compared."""
        return tuple({choice.compared.key: choice.compared for choice in self._on_other_samples()}.values())

    def require_unseen(self) -> None:
        """Raise ``DataError`` for a choice on samples that are reported, unless its entry allows it."""
        require_unseen(self._on_other_samples())

    def _on_other_samples(self) -> list[Choice]:
        """Every choice; of metrics of heatmaps one per model, as their combinations may not be selected yet."""
        metrics = [
            Choice(source, compared_on(source, entry), model, entry)
            for (source, model, _), entry in product(self.jobs(), self.metric_entries)
        ]
        return [*self.choices, *metrics]

    @cached_property
    def rejected(self) -> Mapping[str, list[Tally]]:
        """Dataset identity → its rejected files; cached, as a dataset may read whole tables for it."""
        return {identity: dataset.rejected() for identity, dataset in self._datasets.items()}

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know of the networks, such as one that cannot be traced."""
        return tuple(dict.fromkeys(notice for _, model in self.pairs for notice in model.notices()))

    @cached_property
    def passed_over(self) -> Mapping[str, list[Tally]]:
        """Dataset identity → the files among its images and masks that nothing reads."""
        return {identity: dataset.passed_over() for identity, dataset in self._datasets.items()}

    @property
    def _datasets(self) -> dict[str, Dataset]:
        return {source.dataset.identity: source.dataset for source, _ in self.pairs}

    def tasks(
        self, fitted: Fitted, contents: Callable[..., str] = lambda dataset, *ids: "", tuned: Tuned | None = None,
        selected: Selected | None = None,
    ) -> tuple[Task, ...]:  # fmt: skip
        """The tasks of every dataset and model in chunks; ``contents`` digests their files, as ``Contents.of``."""
        tasks: list[Task] = []
        contents = cache(contents)
        tuned = tuned or {}
        selected = selected or {}
        for source, model, combinations in self.jobs():
            metrics = self.filled(fitted, source, model)
            heatmap_metrics = [metric for metric in metrics if "heatmap" in metric.needs]
            metrics_of = {
                item.key: _distinct(
                    *(tuned.get((metric.identity, item.key), metric) for metric in heatmap_metrics),
                    *selected.get(item.key, ()),
                )
                for item in combinations
            }
            of_predictions = selected.get(predictions_key(source.dataset.identity, model.identity), ())
            other_metrics = _distinct(*(metric for metric in metrics if "heatmap" not in metric.needs), *of_predictions)
            tasks += chunks(self.config, source, model, combinations, contents, metrics_of, other_metrics)
        return tuple(tasks)

    def filled(self, fitted: Fitted, source: Source, model: Model) -> list[Metric]:
        """The metrics with their open settings as they were filled for a dataset and the grid of a model."""
        ground = (source.dataset.identity, model.grid)
        return [fitted.get((metric.identity, *ground), metric) for metric in self.metrics]

    def chosen(self, index_of: Callable[[CombinationChoice], int]) -> "Plan":
        """The plan in which every choice is made; ``index_of``: a choice → the number of its selected candidate."""
        combinations = {(item.key, item.source.key): item for item in self.combinations}
        for choice in self.choices:
            item = choice.reported[index_of(choice)]
            combinations.setdefault((item.key, item.source.key), item)
        return replace(self, combinations=tuple(combinations.values()), choices=())

    def jobs(self) -> list[tuple[Source, Model, list[Combination]]]:
        """Every dataset split and model with their combinations."""
        jobs = {(source.key, model.identity): (source, model, list[Combination]()) for source, model in self.pairs}
        for item in self.combinations:
            jobs[item.source.key, item.model.identity][2].append(item)
        return list(jobs.values())

    def comparing(self) -> list[tuple[Source, Model, list[Combination], list[Metric]]]:
        """Every split on which candidates are compared, and model, with all combinations and metrics computed there."""
        jobs: dict[Hashable, tuple[Source, Model, dict[str, Combination], dict[str, Metric]]] = {}
        for choice in self.choices:
            job = jobs.setdefault((choice.compared.key, choice.model.identity), (choice.compared, choice.model, {}, {}))
            job[2].update({item.key: item for item in choice.candidates})
            job[3][choice.metric.identity] = choice.metric
        for other in self.metric_choices:
            job = jobs.setdefault((other.compared.key, other.model.identity), (other.compared, other.model, {}, {}))
            job[2].update({item.key: item for item in [other.combination] if item is not None})
            job[3].update({metric.identity: metric for metric in other.entry.candidates})
        return [
            (source, model, [*items.values()], [*metrics.values()]) for source, model, items, metrics in jobs.values()
        ]


def _distinct(*metrics: Metric) -> tuple[Metric, ...]:
    return tuple({metric.identity: metric for metric in metrics}.values())


def make_plan(config: RunConfig, catalog: Catalog) -> Plan:
    """The plan of a config; raises ``ConfigError`` if nothing can run, ``ModelError`` if a network cannot be built."""
    refresh()
    config = in_precision(config)
    renew(config)
    sources = {id(entry): source(entry) for entry in (*config.datasets, *(row.dataset for row in config.combinations))}
    _require_distinct([item.dataset for item in sources.values()])
    requested = [(sources[id(entry)], model) for entry, model in _pairs(config)]
    pairs = tuple(pair for pair in requested if not _missing_extras(*pair))
    metrics = _distinct(*(metric for metric in config.metrics if not isinstance(metric, MetricChoice)))
    metric_entries = tuple(entry for entry in config.metrics if isinstance(entry, MetricChoice))
    measuring = config.measuring
    _require_known(measuring, pairs)
    require_groups(config.by, sources.values())
    judged = any("heatmap" in metric.needs and metric.needs & ASKING for metric in measuring)
    expansions = _expansions(config, sources, judged)
    combinations: dict[Hashable, Combination] = {}
    for item in (item for expansion in expansions for item in expansion.combinations):
        combinations.setdefault((item.key, item.source.key), item)
    choices = tuple(choice for expansion in expansions for choice in expansion.choices)
    skipped = [_without_extras(*pair) for pair in requested if _missing_extras(*pair)]
    skipped += [entry for expansion in expansions for entry in expansion.skipped]
    all_metrics = [*metrics, *(entry.candidates[0] for entry in metric_entries)]
    if any("heatmap" in metric.needs for metric in all_metrics):
        candidates = [item for choice in choices for item in choice.reported]
        for item in _baselines(catalog, [*combinations.values(), *candidates]):
            combinations[item.key, item.source.key] = item
    idle = all("heatmap" in metric.needs for metric in all_metrics) or (bool(requested) and not pairs)
    if not combinations and not choices and idle:
        reasons = "; ".join(sorted({item.reason for item in skipped})) or "no dataset, model and explainer are given"
        raise ConfigError(f"no combination of this config can run: {reasons}.")
    tuning: tuple[Source, ...] = ()
    if any(metric.open or metric.untuned for metric in measuring):
        tuning = tuple(tuning_of(sources.values()))
    items = (tuple(combinations.values()), tuple(dict.fromkeys(skipped)))
    plan = Plan(config, pairs, *items, metrics, tuning, choices, metric_entries)
    plan.require_unseen()
    require_apart([*tuning, *plan.compared, *sources.values()])
    return plan


def _expansions(config: RunConfig, sources: Mapping[int, Source], judged: bool) -> list[Expansion]:
    """The expansion of every row of a config, in order; of the networks, built one after the other, the last stays."""
    rows = list(_rows(config))
    models = {id(model): model for _, model in _pairs(config)}
    expansions: dict[int, Expansion] = {}
    dimensions: dict[Hashable, int] = {}
    earlier: Model | None = None
    for model in models.values():
        if earlier is not None:
            earlier.forget()
        earlier = model
        model.require_built()
        for number, (entry, row_model, explainer, target, reduction) in enumerate(rows):
            samples = sources[id(entry)]
            if row_model is model and not _missing_extras(samples, model):
                row = (target, reduction, config.seed, judged, dimensions)
                if isinstance(explainer, ExplainerChoice):
                    compared = compared_on(samples, explainer)
                    parts = [_expanded(compared, model, candidate, *row) for candidate in explainer.candidates]
                    expansions[number] = _choices(samples, explainer, parts)
                else:
                    expansions[number] = _expanded(samples, model, explainer, *row)
    return [expansions[number] for number in sorted(expansions)]


def _choices(source: Source, entry: ExplainerChoice, parts: Sequence[Expansion]) -> Expansion:
    """The choices of an entry, one per target; ``parts``: what its candidates give where they are compared."""
    candidates: dict[str, list[Combination]] = {}
    for item in (item for part in parts for item in part.combinations):
        candidates.setdefault(item.target, []).append(item)
    choices = [
        CombinationChoice(source, items[0].source, items[0].model, entry, tuple(items)) for items in candidates.values()
    ]
    skipped = [item for part in parts for item in part.skipped]
    for choice in choices:
        if len(choice.candidates) == 1 and not skipped:
            alone = f"{entry.short} on {choice.candidates[0].model.short} has one candidate to select from"
            raise ConfigError(f"{alone}; give a setting a list of values, such as layer: all, or leave out select.")
    return Expansion([], skipped, choices)


def _require_known(metrics: Iterable[Metric], pairs: Iterable[tuple[Source, Model]]) -> None:
    """Raise ``ConfigError`` for what metrics name and a dataset or model does not have: findings, readers, classes."""
    problems: list[str] = []
    for metric, (source, model) in product(metrics, pairs):
        for kind, owner in {"findings": source.dataset, "readers": source.dataset, "classes": model}.items():
            known = getattr(owner, kind)
            if known is None:
                continue
            unknown = [name for name in metric.names().get(kind, ()) if name not in known]
            reason = f"which is none of the {kind} of {owner.short}"
            problems += [f"{metric.short} names {name!r}, {reason}; {near(name, known)}" for name in unknown]
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))


def _require_distinct(datasets: Iterable[Dataset]) -> None:
    """Raise ``ConfigError`` for datasets that differ in their folders alone, since tables could not tell them apart."""
    first: dict[str, Dataset] = {}
    for dataset in datasets:
        settings = first.setdefault(dataset.identity, dataset).describe()
        for name, value in dataset.describe().items():
            if value != settings[name]:
                reason = f"{dataset.short} is listed with two values of {name}, {settings[name]} and {value}"
                raise ConfigError(f"{reason}, where files have the same names and sizes; run one config for each.")


def _missing_extras(source: Source, model: Model) -> list[str]:
    """The extras that a model reads and the dataset's samples do not have."""
    return sorted(set(model.extras) - set(source.dataset.extras))


def _without_extras(source: Source, model: Model) -> Skipped:
    """The entry for a model that reads extras which the dataset's samples do not have."""
    dataset = source.dataset.short
    names = ", ".join(_missing_extras(source, model))
    advice = "choose another dataset, or settings of it with which it does"
    reason = f"{model.short} reads {names} of each sample, which {dataset} does not give; {advice}"
    return Skipped(dataset, label(model), "all", reason)


def source(entry: DatasetEntry) -> Source:
    """The samples of a dataset entry; raises ``DataError`` when there are none."""
    # A dataset remembers what it has read, and a config may be run again after its files have changed.
    dataset = entry.component.with_()
    split = entry.split or "all"
    with contained(dataset.short):
        ids = dataset.ids(entry.split)
    if len(set(ids)) < len(ids):
        repeated = next(id for id in ids if ids.count(id) > 1)
        raise DataError(f"{dataset.short} has the id {repeated!r} more than once in split {split}; ids must be unique.")
    unknown = sorted({*(entry.ids or ())} - {*ids})
    if unknown:
        raise DataError(f"{dataset.short} has no sample {unknown[0]!r} in split {split}; {near(unknown[0], ids)}")
    selected = tuple(dict.fromkeys(entry.ids or ids))[: entry.limit]
    if not selected:
        advice = f"check its folder with `{dataset.check_command}`, or choose another split."
        raise DataError(f"{dataset.short} has no samples in split {split}; {advice}")
    return Source(dataset, split, selected)


def _pairs(config: RunConfig) -> Iterable[tuple[DatasetEntry, Model]]:
    return [*product(config.datasets, config.models), *((row.dataset, row.model) for row in config.combinations)]


def _rows(config: RunConfig) -> Iterator[tuple[DatasetEntry, Model, Explainer | ExplainerChoice, Target, str]]:
    """The cross product of the config's lists, then its explicit ``combinations``."""
    yield from product(config.datasets, config.models, config.explainers, config.targets, config.reductions)
    for row in config.combinations:
        targets = config.targets if row.target is None else [row.target]
        reductions = config.reductions if row.reduction is None else [row.reduction]
        yield from product([row.dataset], [row.model], [row.explainer], targets, reductions)


def _expanded(
    source: Source, model: Model, explainer: Explainer, target: Target, reduction: str, seed: int, judged: bool,
    dimensions: dict[Hashable, int],
) -> Expansion:  # fmt: skip
    """The combinations of one row that can run, and those that cannot; ``dimensions`` are known by samples and grid."""
    names = (source.dataset.short, label(model))
    possible: list[Combination] = []
    impossible: list[Skipped] = []
    try:
        targets = _targets(source.dataset, model, explainer, target, judged)
        with contained(explainer.short):
            variants = list(explainer.expand(model))
        for variant in variants:
            with contained(variant.short):
                layers = tuple(variant.layers(model))
                requests = tuple(variant.requests(model))
                verdict = variant.verdict(model)
            reason = f"undefined because {verdict.reason}"
            if verdict.level != "undefined":
                reason = _misfit(source, model, variant, dimensions)
            if reason:
                impossible.append(Skipped(*names, label(variant), reason))
            else:
                combination = partial(Combination, source, model, layers=layers, requests=requests)
                possible += [combination(name, variant, reduction, seed, verdict, judged) for name in targets]
    except HeatproofError as error:
        return Expansion([], [Skipped(*names, label(explainer), str(error).rstrip("."))])
    except Exception as error:
        return Expansion([], [Skipped(*names, label(explainer), f"{type(error).__name__}: {error}")])
    return Expansion(possible, impossible)


def _misfit(source: Source, model: Model, explainer: Explainer, known: dict[Hashable, int]) -> str:
    """Why an explainer does not support the prepared images; empty if it does, or if no image can be read."""
    if explainer.spaces >= {2, 3}:
        return ""
    key = (source.key, model.grid)
    if key not in known:
        sample = first_readable(source.dataset, model, source.ids)
        known[key] = len(sample.space) if sample else 0
    if known[key] in (0, *explainer.spaces):
        return ""
    images = f"those of {source.dataset.short} as {model.short} prepares them have {known[key]} dimensions"
    return f"explains {explainer.supported} images; {images}"


def _targets(dataset: Dataset, model: Model, explainer: Explainer, target: Target, judged: bool) -> list[str]:
    """The targets as tables name them: ``label`` becomes one per class where samples have several labels at once."""
    if isinstance(target, RegionTarget):
        title = over_region(dataset, model, target)
        return ["" if "model_free" in explainer.traits and not judged else title]
    named = "predicted" if target in ("predicted", "label") else model.classes[model.target(target)]
    if "model_free" in explainer.traits and not judged:
        return [""]
    require_whole_image(model)
    if "targetless" in explainer.traits and not judged:
        return [""]
    if model.head in ("ordinal", "regression") or len(model.classes) == 1:
        return ["logit"]
    if target != "label":
        return [named]
    common = [name for name in dataset.classes if name in model.classes]
    if not common:
        raise ModelError(f"{dataset.short} and {model.short} share no class for target 'label'; choose another target")
    if not dataset.multilabel:
        return ["label"]
    return [f"{LABELLED}{name}" for name in common]


def _baselines(catalog: Catalog, combinations: list[Combination]) -> Iterable[Combination]:
    """A random baseline for every ``_ground`` without one, with the first model of a grid."""
    chance = catalog.create("explainer", NAME, {})
    assert isinstance(chance, Explainer)
    present = {_ground(item) for item in combinations if "baseline" in item.explainer.traits}
    missing = {_ground(item): item for item in reversed(combinations) if _ground(item) not in present}
    baseline = partial(replace, explainer=chance, reduction="max", verdict=Verdict("exact"), layers=(), requests=())
    return [baseline(item, target=item.target if item.judged else "") for item in reversed(missing.values())]


def _ground(combination: Combination) -> Hashable:
    """What a baseline depends on: the samples and the grid, or for judged heatmaps the model and the target."""
    if combination.judged:
        return combination.source.key, combination.model.identity, combination.target
    return combination.source.key, combination.model.grid, ""
