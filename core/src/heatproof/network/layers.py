"""Which layers a network has, by the names of its own modules."""

from dataclasses import dataclass

from torch import fx, nn

from .canonical import UNTRACEABLE, canonical, reason_of
from .graph import of_kind
from .modules import ACTIVATIONS, CONVOLUTIONS
from .tracing import OBSERVED


@dataclass(frozen=True)
class Outline:
    """What a network is made of: its convolutions by name and its kinds of activation, in order of evaluation.

    ``layers`` are all modules whose output can be observed. ``module`` is the canonical network itself, for what else
    of its graph a verdict depends on. ``reason`` says why a network cannot be traced; then nothing else is known.
    """

    convolutions: tuple[str, ...] = ()
    activations: tuple[type[nn.Module], ...] = ()
    reason: str = ""
    module: fx.GraphModule | None = None
    layers: frozenset[str] = frozenset()


def outline(network: nn.Module) -> Outline:
    """The outline of a network."""
    try:
        module = canonical(network)
    except UNTRACEABLE as error:
        return Outline(reason=reason_of(error))
    convolutions = [str(node.target) for node in module.graph.nodes if of_kind(module, node, CONVOLUTIONS)]
    activations = [node for node in module.graph.nodes if of_kind(module, node, ACTIVATIONS)]
    kinds = tuple(type(module.get_submodule(str(node.target))) for node in activations)
    return Outline(tuple(convolutions), kinds, module=module, layers=frozenset(layers_of(module)))


def layers_of(module: fx.GraphModule) -> dict[str, str]:
    """Module of the network by name → the node that holds its output; a convolution's is the end of its chain."""
    return {name: node.name for node in module.graph.nodes for name in node.meta.get(OBSERVED, ())}
