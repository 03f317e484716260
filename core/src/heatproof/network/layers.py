"""The outline of a network: its layers by the names of its modules, and its activations."""

from dataclasses import dataclass

from torch import fx, nn

from .canonical import UNTRACEABLE, canonical, reason_of
from .graph import of_kind
from .modules import ACTIVATIONS, CONVOLUTIONS
from .tracing import OBSERVED


@dataclass(frozen=True)
class Outline:
    """A network's convolutions by name and its classes of activation, in order of evaluation.

    ``layers`` are all modules with an observable output, ``module`` is the canonical network, and ``reason`` says why a
    network cannot be traced.
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
    """The node that holds the output of each module, by module name; for a convolution, the end of its chain."""
    return {name: node.name for node in module.graph.nodes for name in node.meta.get(OBSERVED, ())}
