"""A run's settings from YAML: validated, every mistake of a file at once, components made by the catalog."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..component import Component, Location, mapped, plain
from ..dataset import Dataset
from ..errors import ConfigError, HeatproofError, near
from ..explainer import REDUCTIONS, Explainer
from ..metric import Metric
from ..model import Model
from ..registry.catalog import Catalog, default
from . import yamlfile
from .messages import findings
from .yamlfile import Document, Problem, Steps, dotted

PICKED = ("split", "limit", "ids")
"""What an entry of ``datasets:`` says besides the dataset's own Params."""

LISTS = {"dataset": "datasets", "model": "models", "explainer": "explainers"}
"""A row of ``combinations:`` names entries of these lists, or writes them out."""


def _number(value: Any) -> Any:
    """Refuse yes and no, which pydantic takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _device(value: str) -> str:
    if value not in ("auto", "cpu", "cuda") and not (value.startswith("cuda:") and value[5:].isdecimal()):
        raise ValueError("is not a device; allowed: auto, cpu, cuda, cuda:N")
    return value


def _reduction(value: str) -> str:
    if value not in REDUCTIONS:
        raise ValueError(f"is not a reduction; {near(value, REDUCTIONS)}")
    return value


def _some(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if not value:
        raise ValueError("should have an entry; leave it out for the default")
    return value


def _executor(value: Any, info: ValidationInfo) -> Any:
    """An executor by name or mapping; one made in Python stays."""
    if isinstance(value, Component):
        return value
    context = info.context or default().context(Path.cwd())
    return context["catalog"].build("executor", value, context)


Count = Annotated[PositiveInt, BeforeValidator(_number)]
Gigabytes = Annotated[PositiveFloat, BeforeValidator(_number)]
Natural = Annotated[int, Field(ge=0), BeforeValidator(_number)]
Device = Annotated[str, AfterValidator(_device)]
Reduction = Annotated[str, AfterValidator(_reduction)]
Target = Annotated[int, Field(strict=True, ge=0)] | str


class Settings(BaseModel):
    """Frozen settings that refuse unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class DatasetEntry(Settings):
    """A dataset and what is taken of it: a split, at most ``limit`` samples, or these ``ids``."""

    component: Dataset
    split: str | None = None
    limit: Count | None = None
    ids: tuple[str, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _picked(cls, value: Any) -> Any:
        """Tell what is taken from the dataset's own Params."""
        if isinstance(value, DatasetEntry) or (
            isinstance(value, Mapping) and isinstance(value.get("component"), Dataset)
        ):
            return value
        if not isinstance(value, Mapping):
            return {"component": value}
        picked = {name: value[name] for name in PICKED if name in value}
        return {"component": {name: value[name] for name in value if name not in PICKED}, **picked}

    @field_validator("split")
    @classmethod
    def _known_split(cls, value: str | None, info: ValidationInfo) -> str | None:
        try:
            if "component" in info.data:
                info.data["component"].require_split(value)
        except HeatproofError as error:
            raise ValueError(str(error)) from None
        return value

    def describe(self) -> dict[str, Any]:
        """This entry as a config writes it."""
        picked = {name: plain(getattr(self, name)) for name in PICKED}
        return self.component.describe() | {name: value for name, value in picked.items() if value is not None}


class CombinationEntry(Settings):
    """One explicit combination; target and reduction are those of the config where they are None."""

    dataset: DatasetEntry
    model: Model
    explainer: Explainer
    target: Target | None = None
    reduction: Reduction | None = None


class StatisticsSettings(Settings):
    """How sure the report is: resamples, permutations, kind and width of intervals, correction of many p-values."""

    resamples: Count = 10_000
    permutations: Count = 10_000
    confidence: Annotated[float, Field(gt=0, lt=1), BeforeValidator(_number)] = 0.95
    interval: Literal["percentile", "bca", "parity"] = "percentile"
    correction: Literal["holm", "benjamini_hochberg"] = "holm"


class ReportSettings(Settings):
    """What the report shows: this many best and worst cases."""

    examples: Natural = 2


class RunConfig(Settings):
    """Everything a run depends on. The lists are crossed; ``combinations`` are further rows."""

    output: Location
    seed: Natural = 0
    device: Device = "auto"
    datasets: tuple[DatasetEntry, ...] = ()
    models: tuple[Model, ...] = ()
    explainers: tuple[Explainer, ...] = ()
    metrics: tuple[Metric, ...] = ()
    targets: Annotated[tuple[Target, ...], AfterValidator(_some)] = ("predicted",)
    reductions: Annotated[tuple[Reduction, ...], AfterValidator(_some)] = ("max",)
    combinations: tuple[CombinationEntry, ...] = ()
    rows: Literal["auto"] | Count = "auto"
    chunk: Count = 16
    executor: Annotated[Any, BeforeValidator(_executor)] = "serial"
    threads: Count | None = None
    cache: Location | bool = True
    cache_limit: Gigabytes | None = None
    statistics: StatisticsSettings = StatisticsSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def _anything(self) -> Self:
        """Refuse a config that asks for nothing."""
        crossed = self.datasets and self.models and (self.explainers or self.metrics)
        if not crossed and not self.combinations:
            lacking = [name for name in ("datasets", "models", "explainers") if not getattr(self, name)]
            raise ValueError(f"there is nothing to run; give {', '.join(lacking)}, or rows of combinations")
        return self


def load(path: Path | str, catalog: Catalog, overrides: Sequence[str] = ()) -> RunConfig:
    """The settings in a YAML file, changed by ``a.b=value``; raises ``ConfigError`` with every mistake in it.

    Relative paths, also those of ``overrides``, start at the folder of the file.
    """
    path = Path(path)
    document = yamlfile.read(path)
    for assignment in overrides:
        document.override(assignment)
    if not isinstance(document.data, dict):
        seen = "is empty" if document.data is None else f"holds {document.data!r:.60} and no settings"
        document.complain((), f"{seen}; a config is a mapping with datasets, models, explainers and metrics")
        raise _told(document.problems)
    document.data.setdefault("output", f"runs/{path.stem}")
    return _validated(document, catalog, path.absolute().parent)


def from_plain(data: Mapping[str, Any], catalog: Catalog) -> RunConfig:
    """The settings in plain data, as a script writes them or ``resolved`` made them; relative paths start here."""
    copied = mapped(data, lambda value: str(value) if isinstance(value, str) else value)
    return _validated(Document("config", copied), catalog, Path.cwd())


def resolved(config: RunConfig) -> dict[str, Any]:
    """A config as plain data, paths absolute and every default spelt out; ``from_plain`` gives the config back."""
    made: dict[str, Any] = _written(config)
    return made


def _written(value: Any) -> Any:
    if isinstance(value, DatasetEntry):
        return value.describe()
    if isinstance(value, Settings):
        return {name: _written(getattr(value, name)) for name in type(value).model_fields}
    return [_written(entry) for entry in value] if isinstance(value, tuple) else plain(value)


def _validated(document: Document, catalog: Catalog, base: Path) -> RunConfig:
    """The settings of a document whose top is a mapping."""
    copied = _listed(document)
    try:
        config = RunConfig.model_validate(document.data, context=catalog.context(base))
    except ValidationError as error:
        known = {(problem.place, problem.path) for problem in document.problems}
        found = findings(error, document, RunConfig, {"component": PICKED})
        below = tuple(f"{dotted(steps)}." for steps in copied)
        fresh = [one for one in found if (one.place, one.path) not in known and not f"{one.path}.".startswith(below)]
        raise _told([*document.problems, *fresh]) from None
    if document.problems:
        raise _told(document.problems)
    return config


def _told(problems: Sequence[Problem]) -> ConfigError:
    return ConfigError("\n".join(map(str, sorted(set(problems)))))


def _listed(document: Document) -> set[Steps]:
    """Put entries of the lists where rows name them; where that was done (their mistakes are the list's)."""
    copied: set[Steps] = set()
    rows = document.data.get("combinations")
    for index, row in enumerate(rows if isinstance(rows, list) else ()):
        for part in LISTS if isinstance(row, dict) else ():
            matches = _matches(document.data.get(LISTS[part]), row.get(part))
            steps = ("combinations", index, part)
            if len(matches) > 1:
                seen = f"{LISTS[part]} has {len(matches)} entries of this name (seen: {row[part]!r})"
                document.complain(steps, f"{seen}; write the entry out here")
            if matches:
                row[part] = matches[0]
                copied.add(steps)
    return copied


def _matches(entries: Any, name: Any) -> list[Any]:
    """The entries of a list that use the component of this name."""
    if not (isinstance(entries, list) and isinstance(name, str)):
        return []
    uses = [entry.get("use") if isinstance(entry, dict) else entry for entry in entries]
    return [entry for entry, use in zip(entries, uses) if isinstance(use, str) and f"/{use}".endswith(f"/{name}")]
