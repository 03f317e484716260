"""Parts that several kinds of config have: an entry of a dataset with its selection of samples, numbers, devices."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from ..component import Component, Params, plain
from ..dataset import Dataset
from ..errors import HeatproofError

SELECTION = ("split", "limit", "ids")
"""The keys in an entry of ``datasets:`` that select samples; all others are Params of the dataset."""


def not_boolean(value: Any) -> Any:
    """Refuse true and false, which pydantic converts to 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _known_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError("is not a device; allowed: auto, cpu, cuda, cuda:N")
    return value


def nonempty(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list."""
    if not value:
        raise ValueError("should have an entry; leave it out for the default")
    return value


def _rising(values: tuple[float, ...]) -> tuple[float, ...]:
    """Refuse numbers of which one is not above the number before it."""
    if any(low >= high for low, high in pairwise(values)):
        raise ValueError("should be numbers, each above the one before")
    return values


def _known_split(value: str | None, info: ValidationInfo) -> str | None:
    try:
        if "component" in info.data:  # absent if the dataset has an error itself
            info.data["component"].require_split(value)
    except HeatproofError as error:
        raise ValueError(str(error)) from None
    return value


Count = Annotated[int, Field(gt=0, le=1_000_000), BeforeValidator(not_boolean)]
Device = Annotated[str, AfterValidator(_known_device)]


class DatasetEntry(Params):
    """A dataset and the samples to use: a split, at most ``limit`` samples, or the samples with these ``ids``."""

    component: Dataset
    split: Annotated[str | None, AfterValidator(_known_split)] = None
    limit: Count | None = None
    ids: Annotated[tuple[str, ...], AfterValidator(nonempty)] | None = None

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


FROM_SAMPLES = ("label", "finding")
"""What tables can be divided by, besides the attributes of samples."""
Edge = Annotated[float, BeforeValidator(not_boolean)]


class Grouping(Params):
    """An entry of ``by``: the ``label``, the ``finding`` or an attribute of samples, which ``edges`` make intervals."""

    of: Annotated[str, Field(min_length=1)]
    edges: Annotated[tuple[Edge, ...], AfterValidator(nonempty), AfterValidator(_rising)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """Read a name alone."""
        if isinstance(value, (Grouping, Mapping)):
            return value
        return {"of": value}

    @model_validator(mode="after")
    def _require_numbers(self) -> Self:
        if self.edges and self.of in FROM_SAMPLES:
            raise ValueError(f"{self.of} is no number, which edges could divide; leave edges out")
        return self


def entry_of(component: Component) -> dict[str, Any]:
    """Return a component in the form of a config, with the name that its entry gives it."""
    if not component.entry_name:
        return component.describe()
    return component.describe() | {"name": component.entry_name}
