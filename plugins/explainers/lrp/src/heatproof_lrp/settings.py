"""The settings of rules, and a config's own rule for some layers."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import NonNegativeFloat, PositiveFloat, field_validator, model_validator
from torch import nn
from zennit.core import Hook
from zennit.layer import Sum
from zennit.types import AvgPool, BatchNorm, Convolution, Linear

from heatproof.component import Params
from heatproof.errors import near
from heatproof.network.modules import ACTIVATIONS, Mean

from .rules import RULES, fitted

Bound = float | tuple[float, ...]
Kinds = tuple[type, ...]
KINDS: Mapping[str, Kinds] = {
    "weighted": (Linear,), "first": (Linear,), "convolution": (Convolution,), "dense": (nn.Linear,),
    "activation": ACTIVATIONS, "average_pool": (AvgPool, Mean), "addition": (Sum,), "batch_norm": (BatchNorm,),
    "any": (nn.Module,),
}  # fmt: skip
"""Kind of layer as a config calls it → the classes of modules; ``first`` are the weighted ones that read the image."""


class RuleSettings(Params):
    """RuleSettings of rules; what is not given is as in the preset, in the composite, or Zennit's own.

    ``epsilon`` is added to the denominators of the epsilon rule, ``stabilizer`` to those of all others; ``gamma`` is
    how much more positive weights count; ``low`` and ``high`` bound prepared images, for all channels or one by one;
    ``zero_params: bias`` leaves biases out.
    """

    epsilon: NonNegativeFloat | None = None
    gamma: NonNegativeFloat | None = None
    low: Bound | None = None
    high: Bound | None = None
    stabilizer: PositiveFloat | None = None
    zero_params: Literal["bias"] | None = None

    def given(self) -> dict[str, Any]:
        """The settings that are not left open."""
        return {name: value for name in SETTINGS if (value := getattr(self, name, None)) is not None}


class LayerRule(RuleSettings):
    """The rule of the layers of one ``kind``, or whose ``name`` fits a pattern such as ``features.*``, or both."""

    rule: str
    kind: str = "any"
    name: str = "*"
    alpha: NonNegativeFloat | None = None
    beta: NonNegativeFloat | None = None

    @field_validator("rule")
    @classmethod
    def _known_rule(cls, rule: str) -> str:
        return known("rule", rule, RULES)

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        return known("kind", kind, KINDS)

    @model_validator(mode="after")
    def _makes_a_rule(self) -> Self:
        self.made()
        return self

    def made(self) -> Hook:
        """The rule for Zennit; raises ``ValueError`` for settings that it does not take."""
        return fitted(self.rule, RULES[self.rule], self.given())


SETTINGS = (*RuleSettings.model_fields, "alpha", "beta")


def known(what: str, name: str, allowed: Mapping[str, Any]) -> str:
    """A name that is in a table; raises ``ValueError`` with near names."""
    if name not in allowed:
        raise ValueError(f"{what} {name!r} is not known; {near(name, allowed)}")
    return name
