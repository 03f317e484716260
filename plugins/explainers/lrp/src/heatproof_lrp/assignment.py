"""Assigns rules to layers: by a preset, by a composite of Zennit, or by the layer map of a config."""

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
from .rules import RULES, accepted_settings, build_rule, require_accepted
from .settings import KINDS, Kinds, LayerRule
from .shortcut import with_shortcut

STABILIZER = 1e-6
PROPAGATING: Mapping[str, Callable[..., Any]] = {
    name: composite for name, composite in COMPOSITES.items() if "stabilizer" in accepted_settings(composite)
}
"""The composites of Zennit that propagate relevance; its other ones modify gradients, as other explainers do."""


@dataclass(frozen=True)
class Assignment:
    """A rule and its layers: those of some kinds that have a name like ``pattern``, or only the first of them."""

    rule: Hook
    kinds: Kinds
    pattern: str = "*"
    first: bool = False

    def applies_to(self, name: str, module: nn.Module, first_names: frozenset[str]) -> bool:
        """Whether the rule applies to a module; ``first_names`` are the layers that read the image."""
        matches = isinstance(module, self.kinds) and fnmatchcase(name, self.pattern)
        return matches and (name in first_names or not self.first)


def preset_assignments(name: str, settings: Mapping[str, Any]) -> list[Assignment]:
    """The assignments of one of the 16 presets."""
    preset = PRESETS[name]
    defaults: dict[str, Any] = {}
    if preset.epsilon is not None:
        defaults["epsilon"] = preset.epsilon
    require_accepted(f"preset {name}", settings, {"stabilizer", *defaults})
    settings = defaults | dict(settings)

    def build(rule: Rule) -> Hook:
        accepted = accepted_settings(RULES[rule.name])
        arguments = {key: value for key, value in settings.items() if key in accepted}
        return RULES[rule.name](**arguments | dict(rule.settings))

    assignments = [Assignment(build(preset.convolution), (Convolution,)), Assignment(build(preset.dense), (nn.Linear,))]
    if preset.first is not None:
        assignments.insert(0, Assignment(build(preset.first), (Linear,), first=True))
    return [*assignments, *_without_weights(settings)]


def composite_assignments(name: str, settings: Mapping[str, Any]) -> list[Assignment]:
    """The assignments of one of Zennit's composites, and those of modules that it has no rule for."""
    composite = build_rule(f"composite {name}", PROPAGATING[name], settings)
    first = [Assignment(rule, (kinds,), first=True) for kinds, rule in getattr(composite, "first_map", ())]
    layers = [Assignment(rule, (kinds,)) for kinds, rule in composite.layer_map]
    return [*first, *layers, Assignment(_norm(settings), (Mean,)), Assignment(Pass(), (nn.Mish,))]


def map_assignments(layers: Sequence[LayerRule], settings: Mapping[str, Any]) -> list[Assignment]:
    """The assignments of a config's layer map; other layers without weights have the same rules as in presets."""
    require_accepted("a layer map as a whole", settings, {"stabilizer"})
    assignments = [
        Assignment(layer.build(), KINDS[layer.kind], layer.name, first=layer.kind == "first") for layer in layers
    ]
    return [*assignments, *_without_weights(settings)]


def _without_weights(settings: Mapping[str, Any]) -> list[Assignment]:
    """The rules of layers without weights: activations pass relevance on, sums and means share it by contribution."""
    return [Assignment(Pass(), (*ACTIVATIONS, BatchNorm)), Assignment(_norm(settings), (Sum, AvgPool, Mean))]


def _norm(settings: Mapping[str, Any]) -> Hook:
    return Norm(stabilizer=settings.get("stabilizer", STABILIZER))


def rules_of(network: fx.GraphModule, assignments: Sequence[Assignment]) -> dict[str, Hook]:
    """Module name → the rule of the first assignment that applies to it.

    Raises ``ModelError`` for a pattern that matches no name. Also raises it for a layer with weights but without a
    rule, where relevance would become a gradient without notice.
    """
    nodes = network.graph.find_nodes(op="call_module")
    modules = {str(node.target): network.get_submodule(str(node.target)) for node in nodes}
    for assignment in assignments:
        if not any(fnmatchcase(name, assignment.pattern) for name in modules):
            raise ModelError(f"no layer matches {assignment.pattern!r}; {near(assignment.pattern, modules)}")
    first = first_layers(network, (Linear,))
    rules: dict[str, Hook] = {}
    for name, module in modules.items():
        rule = next((entry.rule for entry in assignments if entry.applies_to(name, module, first)), None)
        if rule is not None:
            rules[name] = with_shortcut(rule)
        elif isinstance(module, Linear):
            raise ModelError(
                f"layer {name!r} has no rule; add an entry for all other layers, such as "
                "{kind: weighted, rule: epsilon}, to the end of the layer map."
            )
    return rules
