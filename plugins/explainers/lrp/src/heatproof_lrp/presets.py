"""Lists the rules of the 16 presets of iNNvestigate."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heatproof.errors import near


@dataclass(frozen=True)
class Rule:
    """The name of a rule, and the settings that a preset fixes."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """The rules of dense layers and of convolutions; ``first`` replaces them in layers that read the image.

    ``epsilon`` is the default of that setting; None if the preset does not have the setting.
    """

    dense: Rule
    convolution: Rule
    first: Rule | None = None
    epsilon: float | None = None


def everywhere(name: str, **settings: Any) -> Preset:
    """The same rule for every layer with weights."""
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
    """The preset of this name in any usual spelling, such as ``lrp.z_IB`` or ``LRPZIgnoreBias``.

    Raises ``ValueError`` for an unknown name, and suggests similar ones.

    >>> preset_name("LRPAlpha2Beta1IgnoreBias")
    'alpha_2_beta_1_ib'
    """
    presets = {_normalized(preset): preset for preset in PRESETS}
    preset = presets.get(_normalized(name))
    if preset is None:
        raise ValueError(f"preset {name!r} is not known; {near(name, PRESETS)}")
    return preset


def _normalized(name: str) -> str:
    """A name in lower case, without prefix and separators, and with ``ib`` for ``IgnoreBias``."""
    letters = re.sub("[^a-z0-9]", "", name.lower())
    return letters.removeprefix("lrp").replace("ignorebias", "ib")
