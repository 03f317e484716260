"""The 16 ready-made configurations of iNNvestigate as data."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heatproof.errors import near


@dataclass(frozen=True)
class Rule:
    """A rule by name with the settings that a preset fixes."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """The rules of dense layers and of convolutions, and of the layers that read the image where theirs differ.

    ``epsilon`` is the default of that setting; None where the preset leaves no choice.
    """

    dense: Rule
    convolution: Rule
    first: Rule | None = None
    epsilon: float | None = None


def everywhere(name: str, **settings: Any) -> Preset:
    """One rule for every layer with weights."""
    return Preset(Rule(name, settings), Rule(name, settings))


IB = {"zero_params": "bias"}
SIMPLE = 1e-9
ALPHA_2_BETA_1 = Rule("alpha_beta", {"alpha": 2.0, "beta": 1.0})
PRESETS: Mapping[str, Preset] = {
    "z": everywhere("epsilon", epsilon=SIMPLE),
    "z_ib": everywhere("epsilon", epsilon=SIMPLE, **IB),
    "epsilon": Preset(Rule("epsilon"), Rule("epsilon"), epsilon=1e-7),
    "epsilon_ib": Preset(Rule("epsilon", IB), Rule("epsilon", IB), epsilon=1e-7),
    "w_square": everywhere("w_square", **IB),
    "flat": everywhere("flat"),
    "alpha_2_beta_1": Preset(ALPHA_2_BETA_1, ALPHA_2_BETA_1),
    "alpha_2_beta_1_ib": everywhere("alpha_beta", alpha=2.0, beta=1.0, **IB),
    "alpha_1_beta_0": everywhere("z_plus"),
    "alpha_1_beta_0_ib": everywhere("z_plus", **IB),
    "z_plus": everywhere("z_plus", **IB),
    "z_plus_fast": everywhere("z_plus_fast"),
    "sequential_preset_a": Preset(Rule("epsilon"), Rule("z_plus"), epsilon=0.1),
    "sequential_preset_b": Preset(Rule("epsilon"), ALPHA_2_BETA_1, epsilon=0.1),
    "sequential_preset_a_flat": Preset(Rule("epsilon"), Rule("z_plus"), Rule("flat"), epsilon=0.1),
    "sequential_preset_b_flat": Preset(Rule("epsilon"), ALPHA_2_BETA_1, Rule("flat"), epsilon=0.1),
}


def preset_name(name: str) -> str:
    """A preset's name from any usual spelling: ``lrp.z_IB``, ``LRPZIgnoreBias``; raises ``ValueError`` with near names.

    >>> preset_name("LRPAlpha2Beta1IgnoreBias")
    'alpha_2_beta_1_ib'
    """
    known = {_squeezed(own): own for own in PRESETS}
    if _squeezed(name) not in known:
        raise ValueError(f"preset {name!r} is not known; {near(name, PRESETS)}")
    return known[_squeezed(name)]


def _squeezed(name: str) -> str:
    """A name without what spellings differ in."""
    bare = re.sub("[^a-z0-9]", "", name.lower()).removeprefix("lrp")
    return bare.replace("ignorebias", "ib")
