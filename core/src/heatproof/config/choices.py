"""Entries of a config that are selected from several candidates by a metric, on a split that is not reported."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Annotated, Any, Self, get_args, get_origin

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, model_validator
from pydantic.fields import FieldInfo

from ..component import Component, Params
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


class SelectSettings(Params):
    """Select the candidate that is best by a metric on a split: the data set's ``tuning`` split, or another by name.

    ``by`` is a metric, or the name of an entry of ``metrics``. ``reported: true`` allows the samples of that split to
    be reported too, as some papers do; a remark then says so above every table.
    """

    by: Annotated[Metric, AfterValidator(_scoring)]
    on: Annotated[str, Field(min_length=1)] = TUNING
    reported: bool = False


class ExplainerChoice(Params):
    """Explainers of one class, of which one is selected.

    In a config they are one entry with ``select``: each of its settings that has a list of values gives candidates,
    and so does an explainer that makes several combinations, such as Grad-CAM with ``layer: all``.
    """

    candidates: Annotated[tuple[Explainer, ...], Field(min_length=1)]
    select: SelectSettings

    @model_validator(mode="before")
    @classmethod
    def _separate(cls, value: Any, info: ValidationInfo) -> Any:
        """Separate ``select`` from the settings of the candidates."""
        if not isinstance(value, Mapping) or "candidates" in value:
            return value
        settings = {name: setting for name, setting in value.items() if name != SELECT}
        fields = _fields(settings.get("use"), info.context or {})
        lists = {name: values for name, values in settings.items() if _varies(values, fields.get(name))}
        count = prod(map(len, lists.values()))
        if count > MOST:
            raise ValueError(f"{SELECT} would compare {count} candidates, more than {MOST}; give fewer values")
        candidates = [{**settings, **dict(zip(lists, values))} for values in product(*lists.values())]
        return {"candidates": candidates, SELECT: value[SELECT]}

    @model_validator(mode="after")
    def _named(self) -> Self:
        """Let tables show the settings in which candidates differ, beside the name of the entry."""
        for candidate in self.candidates:
            if candidate._naming:
                name, usual = candidate._naming
                candidate._naming = name, {key: value for key, value in usual.items() if key not in self.varied}
        return self

    @property
    def varied(self) -> dict[str, list[Any]]:
        """The settings in which candidates differ, with their values in order, as a config has them."""
        described = [candidate.describe() for candidate in self.candidates]
        values = {name: _distinct(entry[name] for entry in described) for name in described[0]}
        return {name: entries for name, entries in values.items() if len(entries) > 1}

    @property
    def short(self) -> str:
        """The name that tables show."""
        return self.candidates[0].short

    def describe(self) -> dict[str, Any]:
        """Return this entry in the form of a config."""
        select = {"by": entry_of(self.select.by), "on": self.select.on, "reported": self.select.reported}
        return entry_of(self.candidates[0]) | self.varied | {SELECT: select}


def described(entry: Component | ExplainerChoice) -> dict[str, Any]:
    """Return an entry of ``explainers`` in the form of a config."""
    if isinstance(entry, ExplainerChoice):
        return entry.describe()
    return entry_of(entry)


def candidates_of(entry: Explainer | ExplainerChoice) -> tuple[Explainer, ...]:
    """Return the explainers of an entry: itself, or all candidates."""
    if isinstance(entry, ExplainerChoice):
        return entry.candidates
    return (entry,)


def _fields(name: Any, context: Mapping[str, Any]) -> Mapping[str, FieldInfo]:
    """The settings of a registered explainer; none for a name that is not registered, which is told elsewhere."""
    try:
        catalog = context["catalog"]
        return dict(catalog.load(catalog.resolve("explainer", name)).Params.model_fields)
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


def _kind(value: Any) -> str:
    several = isinstance(value, ExplainerChoice) or (isinstance(value, Mapping) and SELECT in value)
    return "several" if several else "one"


ExplainerEntry = Annotated[
    Annotated[Explainer, Tag("one")] | Annotated[ExplainerChoice, Tag("several")], Discriminator(_kind)
]
"""An entry of ``explainers``: an explainer, or several of which one is selected; the tags are no keys of a config."""
