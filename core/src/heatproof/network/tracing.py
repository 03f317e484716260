"""Traces a network as one fx graph, and runs graphs with the inputs that a network takes."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn


def named_outputs(outputs: Any, names: tuple[str, ...]) -> dict[str, Tensor]:
    """A network's outputs by name: a tensor is the first, a tuple is matched in order, a dictionary stays."""
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, Tensor):
        return {names[0]: outputs}
    return dict(zip(names, outputs))


def traced(network: nn.Module) -> fx.Graph:
    """The network's graph in evaluation mode, since tracing bakes the flag of functional dropout."""
    flags = {module: module.training for module in network.modules()}
    network.eval()
    try:
        return fx.Tracer().trace(network)
    finally:
        for module, training in flags.items():
            module.training = training


def arguments(graph: fx.Graph, images: Tensor, inputs: Mapping[str, Any]) -> list[Any]:
    """What a graph is called with: the images, and further inputs by name, or their defaults."""
    _, *others = graph.find_nodes(op="placeholder")
    return [images, *(inputs.get(str(node.target), *node.args) for node in others)]
