"""Laws of every component: its settings, its identity, and that it can be sent to a worker process."""

import json
import pickle
from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import ValidationError
from torch import nn

from ..component import Component
from ..errors import HeatproofError
from .check import claim


class Bench(Protocol):
    """A component with everything needed to check it."""

    @property
    def component(self) -> Component:
        """The component under check."""


def settings_survive_a_round_trip(bench: Bench) -> None:
    """A component rebuilt from ``describe``, written to JSON and read again, has the same identity."""
    component = bench.component
    written = json.loads(json.dumps(component.describe(), allow_nan=False))
    again = _reread(component, written)
    claim(again.describe() == component.describe(), f"rebuilt as {again.describe()} from {component.describe()}.")
    claim(
        again.identity == component.identity,
        f"a component rebuilt from {component!r} has another identity.",
    )


def settings_are_closed(bench: Bench) -> None:
    """Unknown settings raise ``HeatproofError``, and settings cannot be changed in place."""
    component = bench.component
    claim(_refused(component), "a setting named 'no_such_setting' is accepted; keep extra='forbid' in Params.")
    for name in type(component.params).model_fields:
        try:
            setattr(component.params, name, getattr(component.params, name))
        except (ValidationError, AttributeError):
            continue
        claim(False, f"setting {name!r} can be changed in place; keep frozen=True in Params.")


def pickles_to_the_same_component(bench: Bench) -> None:
    """A pickled copy has the same class, settings and identity."""
    component = bench.component
    copy = pickle.loads(pickle.dumps(component))
    claim(type(copy) is type(component), f"the copy is a {type(copy).__name__}, not a {type(component).__name__}.")
    claim(copy.identity == component.identity, "the identity of the copy differs.")
    claim(copy.describe() == component.describe(), f"copied as {copy.describe()} from {component.describe()}.")


def identity_follows_from_the_settings(bench: Bench) -> None:
    """Two components with the same settings have the same identity, a non-empty text."""
    component = bench.component
    first = component.with_().identity
    second = component.with_().identity
    claim(first == second == component.identity != "", f"identities {first!r}, {second!r} and {component.identity!r}.")


LAWS = (
    settings_survive_a_round_trip,
    settings_are_closed,
    pickles_to_the_same_component,
    identity_follows_from_the_settings,
)


def _refused(component: Component) -> bool:
    try:
        component.with_(no_such_setting=1)
    except HeatproofError:
        return True
    return False


def _reread(original: Any, written: Any) -> Any:
    """The value that ``describe`` wrote, with components rebuilt by their class instead of by the catalog.

    A network cannot be written to JSON, so the original is used.
    """
    if isinstance(original, nn.Module):
        return original
    if isinstance(original, Component):
        values = {name: getattr(original.params, name) for name in type(original.params).model_fields}
        return original.with_(**{name: _reread(value, written[name]) for name, value in values.items()})
    if isinstance(original, Mapping) and _holds_components(original):
        return {name: _reread(value, written[name]) for name, value in original.items()}
    if isinstance(original, (list, tuple)) and _holds_components(original):
        return [_reread(value, entry) for value, entry in zip(original, written)]
    return written


def _holds_components(values: Mapping[Any, Any] | list[Any] | tuple[Any, ...]) -> bool:
    if isinstance(values, Mapping):
        values = list(values.values())
    return any(isinstance(value, (Component, Mapping, list, tuple)) for value in values)
