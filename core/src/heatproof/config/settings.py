"""The settings of a run, read from YAML and validated; all mistakes are reported at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from ..component import Component, Location, Params, Seed, mapped, plain
from ..dataset import Dataset
from ..errors import ConfigError, HeatproofError, near
from ..explainer import REDUCTIONS, Explainer
from ..messages import KeyPath, dotted, sentences
from ..metric import Metric
from ..model import Model, Precision
from ..regions import RegionTarget
from ..registry.catalog import Catalog, default
from . import yamlfile
from .names import matching, problems
from .yamlfile import Document, Problem

SELECTION = ("split", "limit", "ids")
"""The keys in an entry of ``datasets:`` that select samples; all others are Params of the dataset."""

PLUGIN_KEYS = {"plugin", "plugins"}
"""Keys by which somebody may want a config to load code."""

LISTS = {"dataset": "datasets", "model": "models", "explainer": "explainers"}
"""Key in a row of ``combinations:`` → the list of the entries that the row may name there."""


def _not_boolean(value: Any) -> Any:
    """Refuse true and false, which pydantic converts to 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _without_unit(value: Any) -> Any:
    """The number of gigabytes in a text such as ``4 GB``."""
    if isinstance(value, str):
        return re.sub(r"\s*GB\s*$", "", value, flags=re.IGNORECASE)
    return value


def _known_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError("is not a device; allowed: auto, cpu, cuda, cuda:N")
    return value


def _known_reduction(value: str) -> str:
    if value not in REDUCTIONS:
        raise ValueError(f"is not a reduction; {near(value, REDUCTIONS)}")
    return value


def _nonempty(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if not value:
        raise ValueError("should have an entry; leave it out for the default")
    return value


def _known_split(value: str | None, info: ValidationInfo) -> str | None:
    try:
        if "component" in info.data:  # absent if the dataset has an error itself
            info.data["component"].require_split(value)
    except HeatproofError as error:
        raise ValueError(str(error)) from None
    return value


def _executor(value: Any, info: ValidationInfo) -> Any:
    """Build an executor from a name or mapping; keep a component."""
    if isinstance(value, Component):
        return value
    context = info.context or default().context(Path.cwd())
    return context["catalog"].build("executor", value, context)


Count = Annotated[int, Field(gt=0, le=1_000_000), BeforeValidator(_not_boolean)]
Gigabytes = Annotated[float, Field(gt=0, le=1_000_000), BeforeValidator(_not_boolean)]
Memory = Annotated[Gigabytes, BeforeValidator(_without_unit)]
Seconds = Annotated[float, Field(gt=0, le=1_000_000), BeforeValidator(_not_boolean)]
Natural = Annotated[int, Field(ge=0, le=1000), BeforeValidator(_not_boolean)]
Device = Annotated[str, AfterValidator(_known_device)]
Reduction = Annotated[str, AfterValidator(_known_reduction)]
Class = Annotated[int, Field(strict=True, ge=0)] | str
Target = Annotated[
    Annotated[RegionTarget, Tag("over a region")] | Annotated[Class, Tag("of the image")],
    Discriminator(lambda value: "over a region" if isinstance(value, (Mapping, RegionTarget)) else "of the image"),
]
"""A class of the whole image, or a class over a region; the tags tell the two apart and are no keys of a config."""


class DatasetEntry(Params):
    """A dataset and the samples to use: a split, at most ``limit`` samples, or the samples with these ``ids``."""

    component: Dataset
    split: Annotated[str | None, AfterValidator(_known_split)] = None
    limit: Count | None = None
    ids: Annotated[tuple[str, ...], AfterValidator(_nonempty)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _separate(cls, value: Any) -> Any:
        """Separate the selection of samples from the Params of the dataset."""
        if isinstance(value, DatasetEntry):
            return value
        if not isinstance(value, Mapping):
            return {"component": value}
        if isinstance(value.get("component"), Dataset):
            return value
        selection = {name: value[name] for name in SELECTION if name in value}
        params = {name: value[name] for name in value if name not in SELECTION}
        return {"component": params, **selection}

    def describe(self) -> dict[str, Any]:
        """Return this entry in the form of a config."""
        selection = {name: plain(getattr(self, name)) for name in SELECTION}
        return entry_of(self.component) | {name: value for name, value in selection.items() if value is not None}


class CombinationEntry(Params):
    """One row of ``combinations``; without a target or reduction, it has those of the config."""

    dataset: DatasetEntry
    model: Model
    explainer: Explainer
    target: Target | None = None
    reduction: Reduction | None = None


class StatisticsSettings(Params):
    """Settings of the statistics: numbers of draws, kind and level of intervals, correction for multiple tests."""

    resamples: Count = 10_000
    permutations: Count = 10_000
    confidence: Annotated[float, Field(gt=0, lt=1), BeforeValidator(_not_boolean)] = 0.95
    interval: Literal["percentile", "bca", "parity"] = "percentile"
    correction: Literal["holm", "benjamini_hochberg", "benjamini_yekutieli"] = "holm"


class ReportSettings(Params):
    """Settings of the report: how many best and worst cases it shows, and whether figures are written beside it."""

    examples: Natural = 2
    figures: bool = True


class RunConfig(Params):
    """All settings of a run, which crosses the lists, and adds the rows of ``combinations``."""

    output: Location
    seed: Annotated[Seed, BeforeValidator(_not_boolean)] = 0
    device: Device = "auto"
    precision: Precision = "float32"
    datasets: tuple[DatasetEntry, ...] = ()
    models: tuple[Model, ...] = ()
    explainers: tuple[Explainer, ...] = ()
    metrics: tuple[Metric, ...] = ()
    targets: Annotated[tuple[Target, ...], AfterValidator(_nonempty)] = ("predicted",)
    reductions: Annotated[tuple[Reduction, ...], AfterValidator(_nonempty)] = ("max",)
    combinations: tuple[CombinationEntry, ...] = ()
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
        yield from (("explainer", explainer) for explainer in [*self.explainers, *(row.explainer for row in rows)])
        yield from (("metric", metric) for metric in self.metrics)

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
    path = Path(path)
    document = yamlfile.read(path)
    for assignment in overrides:
        document.override(assignment)
    if not isinstance(document.data, dict):
        content = "is empty" if document.data is None else f"holds {document.data!r:.60} and no settings"
        document.complain((), f"{content}; a config is a mapping with datasets, models, explainers and metrics")
        raise _config_error(document.problems)
    for key in PLUGIN_KEYS & document.data.keys():
        document.complain((key,), "a config loads no code; name the file by --plugin FILE in the command that runs it")
    document.data.setdefault("output", f"runs/{path.stem}")
    return _validated(document, catalog, path.absolute().parent)


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
        settings[kind] = [entry_of(component) for component in getattr(config, kind)]
    for row, entry in zip(settings["combinations"], config.combinations):
        row |= {"dataset": entry.dataset.describe(), "model": entry_of(entry.model)}
        row |= {"explainer": entry_of(entry.explainer)}
    return settings


def entry_of(component: Component) -> dict[str, Any]:
    """Return a component in the form of a config, with the name that its entry gives it."""
    if not component.entry_name:
        return component.describe()
    return component.describe() | {"name": component.entry_name}


def _validated(document: Document, catalog: Catalog, base: Path) -> RunConfig:
    """Validate the settings of a document that holds a mapping."""
    copies = _copy_named_entries(document)
    try:
        config = RunConfig.model_validate(document.data, context=catalog.context(base))
    except ValidationError as error:
        reported = {(problem.origin, problem.path) for problem in document.problems}
        copied_paths = tuple(f"{dotted(keys)}." for keys in copies)  # the last dot keeps row 1 apart from row 10
        for keys, text in sentences(error, document.data, RunConfig, {"component": SELECTION}).items():
            problem = Problem(document.origin(keys), dotted(keys), text)
            copied = f"{problem.path}.".startswith(copied_paths)
            if not copied and (problem.origin, problem.path) not in reported:
                document.problems.append(problem)
        raise _config_error(document.problems) from None
    for kind, sentence in problems(config):
        document.complain((kind,), sentence)
    if document.problems:
        raise _config_error(document.problems)
    return config


def in_precision(config: RunConfig) -> RunConfig:
    """Return a config whose models have the precision that it states."""
    rows = [row.model_copy(update={"model": row.model.in_precision(config.precision)}) for row in config.combinations]
    models = tuple(model.in_precision(config.precision) for model in config.models)
    return config.model_copy(update={"models": models, "combinations": tuple(rows)})


def _config_error(problems: Sequence[Problem]) -> ConfigError:
    return ConfigError("\n".join(map(str, sorted(set(problems)))))


def _copy_named_entries(document: Document) -> set[KeyPath]:
    """Replace names in rows by the entries of the lists; return the paths, where mistakes of the entries recur."""
    copies: set[KeyPath] = set()
    rows = document.data.get("combinations")
    if not isinstance(rows, list):
        return copies
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            continue
        for part, list_name in LISTS.items():
            matches = matching(document.data.get(list_name), row.get(part))
            keys = ("combinations", index, part)
            if len(matches) > 1:
                problem = f"{list_name} has {len(matches)} entries of this name (seen: {row[part]!r})"
                document.complain(keys, f"{problem}; write the entry out here")
            if matches:
                row[part] = matches[0]
                copies.add(keys)
    return copies
