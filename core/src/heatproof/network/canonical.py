"""The canonical form of a network: an fx graph whose modules are called once each and share the trained Parameters."""

import torch
from torch import fx, nn

from .graph import attribute, of_kind, only_reader
from .modules import ACTIVATIONS, BATCH_NORMS, CONVOLUTIONS
from .rewriting import own_modules
from .tracing import OBSERVED, traced

UNTRACEABLE = (fx.proxy.TraceError, TypeError, NameError, AttributeError, RuntimeError, ValueError)


def canonical(network: nn.Module) -> fx.GraphModule:
    """Trace a network; each call of an activation, pool or weighted layer becomes a module that shares Parameters."""
    graph = traced(network)
    # An assertion reads the output of a convolution and so would prevent folding.
    for node in graph.find_nodes(op="call_function", target=torch._assert):
        graph.erase_node(node)
    modules = own_modules(network, graph)
    attributes = {str(node.target): attribute(network, str(node.target)) for node in graph.find_nodes(op="get_attr")}
    module = fx.GraphModule(attributes | modules, graph)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    module.graph.lint()
    _name_chains(module)
    return module.eval()


def reason_of(error: Exception) -> str:
    """The first line of an error raised while tracing."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _name_chains(module: fx.GraphModule) -> None:
    """Move the names of a convolution's output to the end of its chain convolution → BatchNorm → activation.

    In a chain only the next node reads each output.
    """
    for node in module.graph.nodes:
        if of_kind(module, node, CONVOLUTIONS):
            names = dict.fromkeys([str(node.target), *node.meta.pop(OBSERVED, ())])
            end = node
            for kinds in (BATCH_NORMS, ACTIVATIONS):
                reader = only_reader(end)
                if reader is not None and of_kind(module, reader, kinds):
                    end = reader
            end.meta[OBSERVED] = [*end.meta.get(OBSERVED, ()), *names]
