"""The settings of a run, read from YAML and validated; all mistakes are reported at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, ValidationInfo, model_validator

from ..component import Component, Location, Params, Seed, mapped, plain
from ..errors import near
from ..explainer import REDUCTIONS
from ..messages import KeyPath
from ..metric import Metric
from ..model import Model, Precision
from ..regions import RegionTarget
from ..registry.catalog import Catalog, default
from .choices import SELECT, ExplainerChoice, ExplainerEntry, MetricEntry, candidates_of, described
from .entries import Count, Device, Grouping, entry_of, nonempty, not_boolean
from .entries import DatasetEntry as DatasetEntry
from .names import matching, problems
from .reading import opened, require_sound, validated
from .yamlfile import Document

LISTS = {"dataset": "datasets", "model": "models", "explainer": "explainers"}
"""Key in a row of ``combinations:`` → the list of the entries that the row may name there."""


def _without_unit(value: Any) -> Any:
    """The number of gigabytes in a text such as ``4 GB``."""
    if isinstance(value, str):
        return re.sub(r"\s*GB\s*$", "", value, flags=re.IGNORECASE)
    return value


def _known_reduction(value: str) -> str:
    if value not in REDUCTIONS:
        raise ValueError(f"is not a reduction; {near(value, REDUCTIONS)}")
    return value


def _executor(value: Any, info: ValidationInfo) -> Any:
    """Build an executor from a name or mapping; keep a component."""
    if isinstance(value, Component):
        return value
    context = info.context or default().context(Path.cwd())
    return context["catalog"].build("executor", value, context)


def _single(by: tuple[Grouping, ...]) -> tuple[Grouping, ...]:
    """Refuse a name that is listed twice, since tables could not tell the two apart."""
    names = [grouping.of for grouping in by]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"has {name!r} twice; give each name once")
    return by


Gigabytes = Annotated[float, Field(gt=0, le=1_000_000), BeforeValidator(not_boolean)]
Memory = Annotated[Gigabytes, BeforeValidator(_without_unit)]
Seconds = Annotated[float, Field(gt=0, le=1_000_000), BeforeValidator(not_boolean)]
Natural = Annotated[int, Field(ge=0, le=1000), BeforeValidator(not_boolean)]
Reduction = Annotated[str, AfterValidator(_known_reduction)]
Class = Annotated[int, Field(strict=True, ge=0)] | str
Target = Annotated[
    Annotated[RegionTarget, Tag("over a region")] | Annotated[Class, Tag("of the image")],
    Discriminator(lambda value: "over a region" if isinstance(value, (Mapping, RegionTarget)) else "of the image"),
]
"""A class of the whole image, or a class over a region; the tags tell the two apart and are no keys of a config."""


class CombinationEntry(Params):
    """One row of ``combinations``; without a target or reduction, it has those of the config."""

    dataset: DatasetEntry
    model: Model
    explainer: ExplainerEntry
    target: Target | None = None
    reduction: Reduction | None = None


class StatisticsSettings(Params):
    """Settings of the statistics: numbers of draws, kind and level of intervals, correction for multiple tests."""

    resamples: Count = 10_000
    permutations: Count = 10_000
    confidence: Annotated[float, Field(gt=0, lt=1), BeforeValidator(not_boolean)] = 0.95
    interval: Literal["percentile", "bca", "parity"] = "percentile"
    correction: Literal["holm", "benjamini_hochberg", "benjamini_yekutieli"] = "holm"


class ReportSettings(Params):
    """Settings of the report: how many best and worst cases it shows, and whether figures are written beside it."""

    examples: Natural = 2
    figures: bool = True


class RunConfig(Params):
    """All settings of a run, which crosses the lists, and adds the rows of ``combinations``."""

    output: Location
    seed: Annotated[Seed, BeforeValidator(not_boolean)] = 0
    device: Device = "auto"
    precision: Precision = "float32"
    datasets: tuple[DatasetEntry, ...] = ()
    models: tuple[Model, ...] = ()
    explainers: tuple[ExplainerEntry, ...] = ()
    metrics: tuple[MetricEntry, ...] = ()
    targets: Annotated[tuple[Target, ...], AfterValidator(nonempty)] = ("predicted",)
    reductions: Annotated[tuple[Reduction, ...], AfterValidator(nonempty)] = ("max",)
    combinations: tuple[CombinationEntry, ...] = ()
    by: Annotated[tuple[Grouping, ...], AfterValidator(_single)] = ()
    rows: Literal["auto"] | Count = "auto"
    memory: Memory | None = None
    chunk: Count = 16
    executor: Annotated[Any, BeforeValidator(_executor)] = "serial"
    threads: Annotated[Count, Field(le=1024)] | None = None
    time_limit: Seconds | None = None
    cache: Location | bool = True
    cache_limit: Gigabytes | None = None
    statistics: StatisticsSettings = StatisticsSettings()
    report: ReportSettings = ReportSettings()

    def components(self) -> Iterator[tuple[str, Component]]:
        """The kind and component of every entry."""
        rows = self.combinations
        yield from (("dataset", entry.component) for entry in [*self.datasets, *(row.dataset for row in rows)])
        yield from (("model", model) for model in [*self.models, *(row.model for row in rows)])
        entries = [*self.explainers, *(row.explainer for row in rows)]
        yield from (("explainer", explainer) for entry in entries for explainer in candidates_of(entry))
        yield from (("metric", metric) for entry in self.metrics for metric in candidates_of(entry))
        yield from (("metric", entry.select.by) for entry in entries if isinstance(entry, ExplainerChoice))

    @property
    def measuring(self) -> list[Metric]:
        """All metrics that are computed: those that are reported, and those by which explainers are selected."""
        metrics = [component for kind, component in self.components() if kind == "metric"]
        return list({metric.identity: metric for metric in metrics if isinstance(metric, Metric)}.values())

    @model_validator(mode="after")
    def _require_work(self) -> Self:
        """Refuse a config without any combination."""
        crossed = self.datasets and self.models and (self.explainers or self.metrics)
        if not crossed and not self.combinations:
            missing = [name for name in ("datasets", "models", "explainers") if not getattr(self, name)]
            raise ValueError(f"there is nothing to run; give {', '.join(missing)}, or rows of combinations")
        return self


def load(path: Path | str, catalog: Catalog, overrides: Sequence[str] = ()) -> RunConfig:
    """Read settings from a YAML file, changed by ``a.b=value``; raises ``ConfigError`` with all mistakes.

    Relative paths, including those in ``overrides``, start at the folder of the file.
    """
    document = opened(Path(path), overrides, "datasets, models, explainers and metrics")
    document.data.setdefault("output", f"runs/{Path(path).stem}")
    return _validated(document, catalog, Path(path).absolute().parent)


def from_plain(data: Mapping[str, Any], catalog: Catalog) -> RunConfig:
    """Read settings from plain data of a script or of ``resolved``; relative paths start at the working folder."""
    # The copy has plain ``str`` in place of subclasses such as numpy's.
    copied = mapped(data, lambda value: str(value) if isinstance(value, str) else value)
    return _validated(Document("config", copied), catalog, Path.cwd())


def resolved(config: RunConfig) -> dict[str, Any]:
    """Return a config as plain data with absolute paths and all defaults; ``from_plain`` restores the config."""
    settings: dict[str, Any] = plain(config)
    settings["datasets"] = [entry.describe() for entry in config.datasets]
    for kind in ("models", "explainers", "metrics"):
        settings[kind] = [described(entry) for entry in getattr(config, kind)]
    for row, entry in zip(settings["combinations"], config.combinations):
        row |= {"dataset": entry.dataset.describe(), "model": entry_of(entry.model)}
        row |= {"explainer": described(entry.explainer)}
    return settings


def _validated(document: Document, catalog: Catalog, base: Path) -> RunConfig:
    """Validate the settings of a document that holds a mapping."""
    copies = _copy_named_entries(document)
    config = validated(document, RunConfig, catalog.context(base), copies)
    for kind, sentence in problems(config):
        document.complain((kind,), sentence)
    require_sound(document)
    return config


def in_precision(config: RunConfig) -> RunConfig:
    """Return a config whose models have the precision that it states."""
    rows = [row.model_copy(update={"model": row.model.in_precision(config.precision)}) for row in config.combinations]
    models = tuple(model.in_precision(config.precision) for model in config.models)
    return config.model_copy(update={"models": models, "combinations": tuple(rows)})


def _copy_named_entries(document: Document) -> set[KeyPath]:
    """Replace names by the entries of the lists; return the paths, where mistakes of the entries recur."""
    copies: set[KeyPath] = set()
    for keys, holder, list_name in _references(document.data):
        part = keys[-1]
        matches = matching(document.data.get(list_name), holder.get(part))
        if len(matches) > 1:
            problem = f"{list_name} has {len(matches)} entries of this name (seen: {holder[part]!r})"
            document.complain(keys, f"{problem}; write the entry out here")
        if matches:
            holder[part] = matches[0]
            copies.add(keys)
    return copies


def _references(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, dict[Any, Any], str]]:
    """Yield where an entry may be named: its path, the mapping that holds the name, and the list of the entries.

    These are the parts of rows, and the metrics by which explainers are selected, also those that a row has named.
    """
    rows = list(_mappings(data, "combinations"))
    for keys, row in rows:
        yield from (((*keys, part), row, list_name) for part, list_name in LISTS.items())
    explainers = [*_mappings(data, "explainers"), *(((*keys, "explainer"), row.get("explainer")) for keys, row in rows)]
    for keys, explainer in explainers:
        if isinstance(explainer, dict) and isinstance(explainer.get(SELECT), dict):
            yield (*keys, SELECT, "by"), explainer[SELECT], "metrics"


def _mappings(data: Mapping[str, Any], name: str) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yield the path and value of each mapping in a list of a document."""
    if isinstance(data.get(name), list):
        yield from (((name, index), entry) for index, entry in enumerate(data[name]) if isinstance(entry, dict))
