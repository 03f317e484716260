"""Entries of a config that are selected from several candidates by a metric, on a split that is not reported."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, model_validator
from pydantic.fields import FieldInfo

from ..component import Component, Params, plain
from ..errors import HeatproofError
from ..explainer import Explainer
from ..metric import Metric
from .entries import entry_of

SELECT = "select"
"""The key of an entry that makes its settings candidates."""
TUNING = "tuning"
"""The name by which every data set's tuning split can be given."""
MOST = 1000
"""The most candidates of an entry."""
LISTS = (tuple, list, set, frozenset, Sequence)


def _scoring(metric: Metric) -> Metric:
    """Refuse a metric that cannot tell heatmaps apart, or that is not complete before heatmaps are there."""
    if "heatmap" not in metric.needs:
        raise ValueError(f"{metric.short} measures no heatmaps, so it is equal for all candidates; name one that does")
    if metric.untuned:
        names = ", ".join(metric.untuned)
        raise ValueError(f"{metric.short} fills {names} from the heatmaps of each candidate; set {names} to a number")
    return metric


def _settled(metric: Metric) -> Metric:
    """Refuse a metric that tunes itself, since its candidates would not differ."""
    if metric.untuned:
        raise ValueError(f"{metric.short} tunes {', '.join(metric.untuned)} by itself; set it, or leave out {SELECT}")
    return metric


class SelectSettings(Params):
    """On which split candidates are compared: the data set's ``tuning`` split, or another by name.

    ``reported: true`` allows samples of that split to be reported too, as some papers do; a remark then says so above
    every table that it concerns.
    """

    on: Annotated[str, Field(min_length=1)] = TUNING
    reported: bool = False


class ExplainerSelect(SelectSettings):
    """Select the explainer that is best ``by`` a metric, which may be the name of an entry of ``metrics``."""

    by: Annotated[Metric, AfterValidator(_scoring)]


class MetricSelect(SelectSettings):
    """Select the metric that is best ``by`` one of its measures; by default by the primary one."""

    by: Annotated[str, Field(min_length=1)] | None = None


class Candidates(Params):
    """Components of one class, of which one is selected; in a config they are one entry with ``select``."""

    kind: ClassVar[str]
    candidates: tuple[Any, ...]
    select: SelectSettings

    @model_validator(mode="before")
    @classmethod
    def _separate(cls, value: Any, info: ValidationInfo) -> Any:
        """Separate ``select`` from the settings of the candidates, each of which has one value of every list."""
        if not isinstance(value, Mapping) or "candidates" in value:
            return value
        settings = {name: setting for name, setting in value.items() if name != SELECT}
        fields = _fields(cls.kind, settings.get("use"), info.context or {})
        lists = {name: values for name, values in settings.items() if _varies(values, fields.get(name))}
        count = prod(map(len, lists.values()))
        if count > MOST:
            raise ValueError(f"{SELECT} would compare {count} candidates, more than {MOST}; give fewer values")
        candidates = [{**settings, **dict(zip(lists, values))} for values in product(*lists.values())]
        return {"candidates": candidates, SELECT: value[SELECT]}

    @model_validator(mode="after")
    def _named(self) -> Self:
        """Let tables show the settings in which candidates differ, beside the name of the entry."""
        differing = varied(self.candidates)
        for candidate in self.candidates:
            if candidate._naming:
                name, usual = candidate._naming
                candidate._naming = name, {key: value for key, value in usual.items() if key not in differing}
        return self

    @property
    def entry_name(self) -> str:
        """The name that the entry gives, which all candidates share; empty without one."""
        return str(self.candidates[0].entry_name)

    @property
    def short(self) -> str:
        """The name that tables show."""
        return str(self.candidates[0].short)

    def describe(self) -> dict[str, Any]:
        """Return this entry in the form of a config."""
        return entry_of(self.candidates[0]) | varied(self.candidates) | {SELECT: plain(self.select)}


class ExplainerChoice(Candidates):
    """Explainers, of which the best by a metric is selected.

    Besides values in lists, an explainer that makes several combinations gives candidates, such as one with
    ``layer: all``.
    """

    kind = "explainer"
    candidates: Annotated[tuple[Explainer, ...], Field(min_length=1)]
    select: ExplainerSelect

    def describe(self) -> dict[str, Any]:
        """Return this entry in the form of a config."""
        described = super().describe()
        described[SELECT]["by"] = entry_of(self.select.by)
        return described


class MetricChoice(Candidates):
    """Metrics that differ in a threshold or cut-offs, say, of which the best by its own values is selected."""

    kind = "metric"
    candidates: Annotated[tuple[Annotated[Metric, AfterValidator(_settled)], ...], Field(min_length=2)]
    select: MetricSelect

    @property
    def measure(self) -> str:
        """The measure by which the candidates are compared."""
        return self.select.by or self.candidates[0].primary

    @property
    def sign(self) -> int:
        """The factor that makes larger values of the measure better."""
        metric = self.candidates[0]
        return 1 if metric.higher_is_better != (self.measure in metric.opposite) else -1


def varied(components: Sequence[Component]) -> dict[str, list[Any]]:
    """Return the settings in which components differ, with their values in order, as a config has them."""
    described = [component.describe() for component in components]
    values = {name: _distinct(entry[name] for entry in described) for name in described[0]}
    return {name: entries for name, entries in values.items() if len(entries) > 1}


def described(entry: Component | Candidates) -> dict[str, Any]:
    """Return an entry of a list in the form of a config."""
    if isinstance(entry, Candidates):
        return entry.describe()
    return entry_of(entry)


def candidates_of(entry: Any) -> tuple[Any, ...]:
    """Return the components of an entry: itself, or all candidates."""
    if isinstance(entry, Candidates):
        return entry.candidates
    return (entry,)


def _fields(kind: str, name: Any, context: Mapping[str, Any]) -> Mapping[str, FieldInfo]:
    """The settings of a registered component; none for a name that is not registered, which is told elsewhere."""
    try:
        catalog = context["catalog"]
        return dict(catalog.load(catalog.resolve(kind, name)).Params.model_fields)
    except (KeyError, TypeError, AttributeError, HeatproofError):
        return {}


def _varies(value: Any, field: FieldInfo | None) -> bool:
    """Whether a value lists candidates: of a setting that is a list itself, only lists of lists do."""
    if not isinstance(value, list) or not value:
        return False
    return not _takes_list(field.annotation if field else None) or all(isinstance(entry, list) for entry in value)


def _takes_list(annotation: Any) -> bool:
    """Whether a value of this type may be a list."""
    if annotation in LISTS or get_origin(annotation) in LISTS:
        return True
    return any(_takes_list(argument) for argument in get_args(annotation))


def _distinct(values: Iterable[Any]) -> list[Any]:
    """The different values in order; they need not be hashable."""
    distinct: list[Any] = []
    for value in values:
        if value not in distinct:
            distinct.append(value)
    return distinct


def _number(value: Any) -> str:
    several = isinstance(value, Candidates) or (isinstance(value, Mapping) and SELECT in value)
    return "several" if several else "one"


ExplainerEntry = Annotated[
    Annotated[Explainer, Tag("one")] | Annotated[ExplainerChoice, Tag("several")], Discriminator(_number)
]
"""An entry of ``explainers``: an explainer, or several of which one is selected; the tags are no keys of a config."""
MetricEntry = Annotated[Annotated[Metric, Tag("one")] | Annotated[MetricChoice, Tag("several")], Discriminator(_number)]
"""An entry of ``metrics``, likewise."""
