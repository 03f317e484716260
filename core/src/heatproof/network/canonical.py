"""The canonical form of a network: an fx graph of modules that are called once, around the trained Parameters."""

import torch
from torch import fx, nn

from .graph import attribute, of_kind, only_reader
from .modules import ACTIVATIONS, BATCH_NORMS, CONVOLUTIONS
from .rewriting import own_modules
from .tracing import OBSERVED, traced

UNTRACEABLE = (fx.proxy.TraceError, TypeError, NameError, AttributeError, RuntimeError, ValueError)


def canonical(network: nn.Module) -> fx.GraphModule:
    """The traced network: activations, pools and weighted layers as modules of their own, Parameters shared."""
    graph = traced(network)
    # Assertions would keep readers on a convolution's output and so prevent folding.
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
    """Why a network cannot be traced, in one line."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _name_chains(module: fx.GraphModule) -> None:
    """Let a convolution's name stand for what ends the chain convolution → BatchNorm → activation.

    Each link must feed only the next. The same goes for a module that returns the convolution's output.
    """
    for node in module.graph.nodes:
        if of_kind(module, node, CONVOLUTIONS):
            names = dict.fromkeys([str(node.target), *node.meta.pop(OBSERVED, ())])
            end = node
            for kinds in (BATCH_NORMS, ACTIVATIONS):
                reader = only_reader(end)
                end = reader if reader is not None and of_kind(module, reader, kinds) else end
            end.meta[OBSERVED] = [*end.meta.get(OBSERVED, ()), *names]
