"""Traces a network as one fx graph, and names its outputs."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn


def named_outputs(outputs: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """A network's outputs, or their nodes, by name: a single one is the first, a tuple in order, a dictionary stays."""
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, (Tensor, fx.Node)):
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
