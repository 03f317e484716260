"""The canonical form of a network: an fx graph whose modules are called once each and share the trained Parameters."""

from collections.abc import Iterable

from torch import fx, nn

from .graph import attribute, callee, of_kind, only_reader
from .modules import ACTIVATIONS, CONVOLUTIONS, NORM_CALLS, NORMS, PASSING
from .rewriting import own_modules
from .tracing import OBSERVED, tidied, traced

ASSERTIONS = ("_assert", "_assert_is_none")


def canonical(network: nn.Module, omitted: Iterable[str] = ()) -> fx.GraphModule:
    """Trace a network; each call of an activation, pool or weighted layer becomes a module that shares Parameters.

    Inputs that are ``omitted`` have their defaults. A network can raise anything when it is traced.
    """
    with tidied(network):
        graph = traced(network, omitted)
        # An assertion reads the output of a convolution and so would prevent folding.
        for node in [node for node in graph.nodes if callee(node) in ASSERTIONS]:
            graph.erase_node(node)
        modules = own_modules(network, graph)
        constants = {str(node.target): attribute(network, str(node.target)) for node in graph.find_nodes(op="get_attr")}
        module = fx.GraphModule(constants | modules, graph)
    module.graph.eliminate_dead_code()
    for node in module.graph.find_nodes(op="placeholder")[1:]:
        if not node.users:
            module.graph.erase_node(node)
    module.delete_all_unused_submodules()
    module.recompile()
    module.graph.lint()
    _name_chains(module)
    return module.eval()


def reason_of(error: Exception) -> str:
    """The first line of an error raised while tracing."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _name_chains(module: fx.GraphModule) -> None:
    """Move the names of a convolution's output to the end of its chain convolution → normalisation → activation.

    In a chain only the next node reads each output. What only passes values on may lie between its links.
    """
    for node in module.graph.nodes:
        if of_kind(module, node, CONVOLUTIONS):
            names = dict.fromkeys([str(node.target), *node.meta.pop(OBSERVED, ())])
            end = _end_of_chain(module, node)
            end.meta[OBSERVED] = [*end.meta.get(OBSERVED, ()), *names]


def _end_of_chain(module: fx.GraphModule, convolution: fx.Node) -> fx.Node:
    """The last node of a convolution's chain that has its axes in the convolution's order."""
    end = convolution
    swapped = False
    normalised = False
    node = only_reader(convolution)
    while node is not None:
        if callee(node) == "permute":
            swapped = not swapped  # a norm of the last axis lies between two permutations
        elif not normalised and (of_kind(module, node, NORMS) or callee(node) in NORM_CALLS):
            normalised = True
        elif not swapped and of_kind(module, node, ACTIVATIONS):
            return node
        elif not of_kind(module, node, PASSING):
            return end
        if not swapped and normalised:
            end = node
        node = only_reader(node)
    return end
