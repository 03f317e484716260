"""The groups of cases that ``by`` in a config asks for: by label, by finding, or by an attribute of samples."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeGuard

from ..config.entries import FROM_SAMPLES, Grouping
from ..containment import contained
from ..dataset import Dataset
from ..errors import ConfigError, near
from ..records import Attribute
from .task import Source

MOST = 50
"""The most groups that the values of an attribute become."""
NONE = "none"
"""The group of the cases that were examined and show no finding."""


@dataclass(frozen=True)
class Traits:
    """What a run has stored of a case: its labels as indices of classes, and the findings that it shows.

    Either is None where it is unknown.
    """

    labels: Sequence[int] | None = None
    findings: Sequence[str] | None = None


def require_groups(by: Sequence[Grouping], sources: Iterable[Source]) -> None:
    """Raise ``ConfigError`` where a dataset cannot be divided as ``by`` asks for, or only into too many groups."""
    problems = [_problem(grouping, source) for source in sources for grouping in by]
    if any(problems):
        raise ConfigError("\n".join(dict.fromkeys(filter(None, problems))))


def _problem(grouping: Grouping, source: Source) -> str:
    """Why the samples of a source cannot be divided; empty if they can."""
    dataset = source.dataset
    names = _names(dataset)
    if grouping.of not in names:
        return f"by names {grouping.of!r}, by which {dataset.short} cannot be divided; {near(grouping.of, names)}"
    if grouping.of in FROM_SAMPLES:
        return ""
    subject = f"by: {grouping.of} of {dataset.short}"
    values = [*_values(grouping, dataset, source.ids).values()]
    if not values:
        return f"{subject} is unknown for all {len(source.ids)} samples; leave it out."
    words = [value for value in values if not _is_number(value)]
    if grouping.edges and words:
        return f"{subject} cannot have edges, since it is not always a number, such as {words[0]!r}; leave edges out."
    count = len(_by_value(grouping, dict(enumerate(values))))
    advice = "choose another name."
    if not words:
        ranked = sorted(values)
        edges = ", ".join(_text(ranked[len(ranked) * part // 3]) for part in (1, 2))
        advice = f"give edges, such as {{of: {grouping.of}, edges: [{edges}]}}."
    return f"{subject} has {count} different values, of which at most {MOST} become groups; {advice}" * (count > MOST)


def _names(dataset: Dataset) -> list[str]:
    """Everything that a dataset can be divided by."""
    with contained(dataset.short):
        known = {"label": bool(dataset.classes), "finding": bool(dataset.findings)}
        return [*(name for name, present in known.items() if present), *dataset.attributes]


def grouped(grouping: Grouping, dataset: Dataset, cases: Mapping[str, Traits]) -> dict[str, list[str]]:
    """Group → its cases, in the order of classes, findings, numbers or text; groups without a case are left out."""
    if grouping.of == "label":
        labels = {id: _named(dataset, case.labels or ()) for id, case in cases.items()}
        return _by_name(dataset.classes, labels)
    if grouping.of == "finding":
        shown = {id: case.findings or (NONE,) for id, case in cases.items() if case.findings is not None}
        return _by_name((*dataset.findings, NONE), shown)
    return _by_value(grouping, _values(grouping, dataset, cases))


def _named(dataset: Dataset, labels: Sequence[int]) -> list[str]:
    return [dataset.classes[index] for index in labels if 0 <= index < len(dataset.classes)]


def _by_name(order: Sequence[str], names: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    groups = {name: [id for id, members in names.items() if name in members] for name in order}
    return {name: ids for name, ids in groups.items() if ids}


def _values(grouping: Grouping, dataset: Dataset, ids: Iterable[str]) -> dict[str, Attribute]:
    """The attribute of each sample that has one."""
    with contained(dataset.short):
        values = {id: dataset.attributes_of(id).get(grouping.of) for id in ids}
    return {id: value for id, value in values.items() if value is not None and value == value}


def _by_value(grouping: Grouping, values: Mapping[Any, Attribute]) -> dict[str, list[Any]]:
    """The groups of equal values, or the intervals between edges, of which each contains its lower edge."""
    groups: dict[str, list[Any]] = {}
    for id, value in sorted(values.items(), key=lambda item: _order(item[1])):
        name = _text(value)
        if grouping.edges and _is_number(value):
            name = _interval(grouping.edges, value)
        groups.setdefault(name, []).append(id)
    return groups


def _order(value: Attribute) -> tuple[bool, float, str]:
    """Numbers by value, before text."""
    if _is_number(value):
        return False, float(value), ""
    return True, 0.0, str(value)


def _is_number(value: Attribute) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def _text(value: Attribute) -> str:
    """The name of a group of equal values; whole numbers have no decimals."""
    if _is_number(value) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _interval(edges: Sequence[float], value: float) -> str:
    """The name of the interval of a value.

    >>> [_interval((40, 60), age) for age in (39, 40, 60)]
    ['below 40', '40 to below 60', '60 or more']
    """
    index = bisect_right(edges, value)
    if index == 0:
        return f"below {_text(edges[0])}"
    if index == len(edges):
        return f"{_text(edges[-1])} or more"
    return f"{_text(edges[index - 1])} to below {_text(edges[index])}"
