"""The canonical form of a network: an fx graph of modules that are called once, around the trained Parameters."""

import torch
from torch import fx, nn

from .graph import attribute
from .rewriting import own_modules
from .tracing import traced

UNTRACEABLE = (fx.proxy.TraceError, TypeError, NameError, AttributeError, RuntimeError, ValueError)


def canonical(network: nn.Module) -> fx.GraphModule:
    """The traced network: activations, pools and weighted layers as modules of their own, Parameters shared."""
    graph = traced(network)
    _drop_asserts(graph)
    modules = own_modules(network, graph)
    attributes = {str(node.target): attribute(network, str(node.target)) for node in graph.find_nodes(op="get_attr")}
    module = fx.GraphModule(attributes | modules, graph)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    module.graph.lint()
    return module.eval()


def reason_of(error: Exception) -> str:
    """Why a network cannot be traced, in one line."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _drop_asserts(graph: fx.Graph) -> None:
    """Erase assertions, which would keep readers on a convolution's output and so prevent folding."""
    for node in graph.find_nodes(op="call_function", target=torch._assert):
        graph.erase_node(node)
