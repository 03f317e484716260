"""Which layers a network has, by the names of its own modules."""

from dataclasses import dataclass

from torch import fx, nn

from .canonical import UNTRACEABLE, canonical, reason_of
from .graph import of_kind, only_reader
from .modules import ACTIVATIONS, BATCH_NORMS, CONVOLUTIONS


@dataclass(frozen=True)
class Outline:
    """What a network is made of: its convolutions by name and its kinds of activation, in order of evaluation.

    ``module`` is the canonical network itself, for what else of its graph a verdict depends on. ``reason`` says why a
    network cannot be traced; then nothing else is known.
    """

    convolutions: tuple[str, ...] = ()
    activations: tuple[type[nn.Module], ...] = ()
    reason: str = ""
    module: fx.GraphModule | None = None


def outline(network: nn.Module) -> Outline:
    """The outline of a network."""
    try:
        module = canonical(network)
    except UNTRACEABLE as error:
        return Outline(reason=reason_of(error))
    found = [node for node in module.graph.nodes if of_kind(module, node, ACTIVATIONS)]
    kinds = tuple(type(module.get_submodule(str(node.target))) for node in found)
    return Outline(tuple(layers_of(module)), kinds, module=module)


def layers_of(module: fx.GraphModule) -> dict[str, str]:
    """Convolution name → node that ends its chain convolution → BatchNorm → activation."""
    chains: dict[str, str] = {}
    for node in module.graph.nodes:
        if of_kind(module, node, CONVOLUTIONS):
            end = node
            for kinds in (BATCH_NORMS, ACTIVATIONS):
                reader = only_reader(end)
                end = reader if reader is not None and of_kind(module, reader, kinds) else end
            chains[str(node.target)] = end.name
    return chains
