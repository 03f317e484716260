"""What verdicts and rules ask of a network's graph."""

from collections.abc import Collection

from torch import fx, nn

from heatproof.network.graph import module_of, of_kind, reads_shape, torch_callee
from heatproof.network.modules import Multiply

GATES = (nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Softmax)
ARITHMETIC = frozenset({"add", "sub", "subtract", "mul", "multiply", "truediv", "div", "divide", "neg"})
"""What adds, subtracts, multiplies, divides or negates, by torch's or Python's own means."""


def dependent(graph: fx.Graph) -> set[fx.Node]:
    """The image and every node whose values, not only their shape, follow from it."""
    found = set(graph.find_nodes(op="placeholder")[:1])
    for node in graph.nodes:
        if node.op != "output" and not reads_shape(node) and not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def first_layers(network: fx.GraphModule, weighted: tuple[type, ...]) -> frozenset[str]:
    """The layers with weights that read the image, with nothing of their kind between."""
    reached, found = set(network.graph.find_nodes(op="placeholder")[:1]), set()
    for node in network.graph.nodes:
        if reached.isdisjoint(node.all_input_nodes) or reads_shape(node):
            continue
        if isinstance(module_of(network, node), weighted):
            found.add(str(node.target))
        else:
            reached.add(node)
    return frozenset(found)


def entry(network: fx.GraphModule, weighted: tuple[type, ...]) -> str | None:
    """The layer with weights that everything from the image passes, where there is one."""
    first = first_layers(network, weighted)
    if len(first) != 1:
        return None
    (name,) = first
    reached = set(network.graph.find_nodes(op="placeholder")[:1])
    for node in network.graph.nodes:
        past = not (node.op == "call_module" and node.target == name)
        if past and not reads_shape(node) and not reached.isdisjoint(node.all_input_nodes):
            reached.add(node)
    return None if any(node.op == "output" for node in reached) else name


def carrier(network: fx.GraphModule, node: fx.Node, dependents: Collection[fx.Node]) -> fx.Node | None:
    """What all relevance of a node belongs to: the features that a gate multiplies, or a tensor among constants.

    None where a rule or the gradient decides.
    """
    sources = [source for source in node.all_input_nodes if source in dependents]
    if of_kind(network, node, (Multiply,)):
        ungated = [source for source in sources if not of_kind(network, source, GATES)]
        return next(iter(ungated or sources), None)
    return sources[0] if len(sources) == 1 and torch_callee(node) in ARITHMETIC else None
