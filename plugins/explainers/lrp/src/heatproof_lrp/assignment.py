"""Which rule holds at which layer: by a preset, a composite of Zennit's, or a config's own layer map."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import fx, nn
from zennit.composites import COMPOSITES
from zennit.core import Hook
from zennit.layer import Sum
from zennit.rules import Norm, Pass
from zennit.types import AvgPool, BatchNorm, Convolution, Linear

from heatproof.errors import ModelError, near
from heatproof.network.modules import ACTIVATIONS, Mean

from .graph import first_layers
from .presets import PRESETS, Rule
from .rules import RULES, fitted, require_taken, settings_of
from .settings import KINDS, Kinds, LayerRule
from .sparing import sparing

STABILIZER = 1e-6
PROPAGATING: Mapping[str, Callable[..., Any]] = {
    name: made for name, made in COMPOSITES.items() if "stabilizer" in settings_of(made)
}
"""Zennit's composites that propagate relevance; its others replace gradients, as explainers of their own do."""


@dataclass(frozen=True)
class Assignment:
    """A rule and where it holds: at layers of some kinds, whose name fits a pattern, or which read the image."""

    rule: Hook
    kinds: Kinds
    pattern: str = "*"
    first: bool = False

    def holds(self, name: str, module: nn.Module, first: frozenset[str]) -> bool:
        """Whether the rule is meant for this module; ``first`` are the layers that read the image."""
        fits = isinstance(module, self.kinds) and fnmatchcase(name, self.pattern)
        return fits and (name in first or not self.first)


def of_preset(name: str, settings: Mapping[str, Any]) -> list[Assignment]:
    """The assignments of one of the 16 presets."""
    preset = PRESETS[name]
    default = {} if preset.epsilon is None else {"epsilon": preset.epsilon}
    require_taken(f"preset {name}", settings, {"stabilizer", *default})

    def made(rule: Rule) -> Hook:
        taken = settings_of(RULES[rule.name])
        chosen = {key: value for key, value in (default | dict(settings)).items() if key in taken}
        return RULES[rule.name](**chosen | dict(rule.settings))

    first = [] if preset.first is None else [Assignment(made(preset.first), (Linear,), first=True)]
    weighted = [Assignment(made(preset.convolution), (Convolution,)), Assignment(made(preset.dense), (nn.Linear,))]
    return [*first, *weighted, *_common(settings)]


def of_composite(name: str, settings: Mapping[str, Any]) -> list[Assignment]:
    """The assignments of one of Zennit's composites, and of what Zennit has no rule for."""
    composite = fitted(f"composite {name}", PROPAGATING[name], settings)
    first = [Assignment(rule, (kinds,), first=True) for kinds, rule in getattr(composite, "first_map", ())]
    layers = [Assignment(rule, (kinds,)) for kinds, rule in composite.layer_map]
    return [*first, *layers, Assignment(_norm(settings), (Mean,)), Assignment(Pass(), (nn.Mish,))]


def of_layers(layers: Sequence[LayerRule], settings: Mapping[str, Any]) -> list[Assignment]:
    """The assignments of a config's own layer map; layers without weights have the presets' rules where none fits."""
    require_taken("a layer map as a whole", settings, {"stabilizer"})
    own = [Assignment(one.made(), KINDS[one.kind], one.name, one.kind == "first") for one in layers]
    return [*own, *_common(settings)]


def _common(settings: Mapping[str, Any]) -> list[Assignment]:
    """The rules of layers without weights: activations pass relevance on, sums and means share it by contribution."""
    return [Assignment(Pass(), (*ACTIVATIONS, BatchNorm)), Assignment(_norm(settings), (Sum, AvgPool, Mean))]


def _norm(settings: Mapping[str, Any]) -> Hook:
    return Norm(stabilizer=settings.get("stabilizer", STABILIZER))


def assigned(network: fx.GraphModule, assignments: Sequence[Assignment]) -> dict[str, Hook]:
    """Module name → the first rule that holds there.

    Raises ``ModelError`` for a pattern that no name fits, and for a layer with weights that no rule holds at, where
    relevance would silently become a gradient.
    """
    called = {
        str(node.target): network.get_submodule(str(node.target)) for node in network.graph.find_nodes(op="call_module")
    }
    for assignment in assignments:
        if not any(fnmatchcase(name, assignment.pattern) for name in called):
            raise ModelError(f"no layer fits {assignment.pattern!r}; {near(assignment.pattern, called)}")
    first, rules = first_layers(network, (Linear,)), dict[str, Hook]()
    for name, module in called.items():
        fitting = [one.rule for one in assignments if one.holds(name, module, first)]
        if not fitting and isinstance(module, Linear):
            raise ModelError(
                f"no rule holds at layer {name!r}; add a last entry such as {{kind: weighted, rule: epsilon}}."
            )
        rules |= {name: sparing(fitting[0])} if fitting else {}
    return rules
