"""The settings of rules, and the entries of a config's layer map."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from torch import nn
from zennit.core import Hook
from zennit.layer import Sum
from zennit.types import AvgPool, BatchNorm, Convolution, Linear

from heatproof.component import Params
from heatproof.errors import near
from heatproof.network.modules import ACTIVATIONS, Mean

from .rules import RULES, build_rule

Weight = Annotated[float, Field(ge=0, le=1e12)]
Bound = float | tuple[float, ...]
"""A bound of pixel values: one number for all channels, or one per channel."""
Kinds = tuple[type, ...]
"""Module classes, as ``isinstance`` accepts them."""
KINDS: Mapping[str, Kinds] = {
    "weighted": (Linear,), "first": (Linear,), "convolution": (Convolution,), "dense": (nn.Linear,),
    "activation": ACTIVATIONS, "average_pool": (AvgPool, Mean), "addition": (Sum,), "batch_norm": (BatchNorm,),
    "any": (nn.Module,),
}  # fmt: skip
"""Kind of layer in a config → its module classes; ``first`` stands for the weighted layers that read the image."""


class RuleSettings(Params):
    """Settings of rules. A setting that is not given has the value of the preset, of the composite, or of Zennit.

    ``epsilon`` is added to the denominators of the epsilon rule, ``stabilizer`` to those of all other rules. ``gamma``
    is the additional weight of positive weights. ``low`` and ``high`` bound the values of prepared images, with one
    number for all channels or one per channel. ``zero_params: bias`` ignores biases.
    """

    epsilon: Weight | None = None
    gamma: Weight | None = None
    low: Bound | None = None
    high: Bound | None = None
    stabilizer: Annotated[Weight, Field(gt=0)] | None = None
    zero_params: Literal["bias"] | None = None

    def rule_settings(self) -> dict[str, Any]:
        """The settings of rules that are given, by name."""
        settings = {name: getattr(self, name, None) for name in RULE_SETTINGS}
        return {name: value for name, value in settings.items() if value is not None}


class LayerRule(RuleSettings):
    """The rule for all layers of one ``kind`` with a name that matches the pattern ``name``, such as ``features.*``."""

    rule: str
    kind: str = "any"
    name: str = "*"
    alpha: Weight | None = None
    beta: Weight | None = None

    @field_validator("rule")
    @classmethod
    def _known_rule(cls, rule: str) -> str:
        return require_known("rule", rule, RULES)

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        return require_known("kind", kind, KINDS)

    @model_validator(mode="after")
    def _valid_settings(self) -> Self:
        self.build()
        return self

    def build(self) -> Hook:
        """Build the rule; raises ``ValueError`` for settings that it does not accept."""
        return build_rule(self.rule, RULES[self.rule], self.rule_settings())


RULE_SETTINGS = (*RuleSettings.model_fields, "alpha", "beta")
"""The names of all settings of rules; only a layer map can set ``alpha`` and ``beta``."""


def require_known(field: str, name: str, names: Mapping[str, Any]) -> str:
    """Return the ``name`` in a field of a config; raise ``ValueError``, with similar names, if it is not a key."""
    if name not in names:
        raise ValueError(f"{field} {name!r} is not known; {near(name, names)}")
    return name
