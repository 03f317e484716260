"""Analyzes a network's graph: which layers come first, and where relevance goes."""

from collections.abc import Collection

from torch import fx, nn

from heatproof.network.graph import image_node, module_of, of_kind, reads_shape, torch_callee
from heatproof.network.modules import Multiply

GATES = (nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Softmax)
"""Modules with outputs that weight another input of a product, as in squeeze-and-excitation."""
ARITHMETIC = frozenset({"add", "sub", "subtract", "mul", "multiply", "truediv", "div", "divide", "neg"})
"""Names of operators, functions and methods that add, subtract, multiply, divide or negate."""


def first_layers(network: fx.GraphModule, weighted: tuple[type, ...]) -> frozenset[str]:
    """The names of the layers with weights that read the image, without another such layer in between."""
    reached = {image_node(network.graph)}
    layers = set()
    for node in network.graph.nodes:
        if reached.isdisjoint(node.all_input_nodes) or reads_shape(node):
            continue
        if isinstance(module_of(network, node), weighted):
            layers.add(str(node.target))
        else:
            reached.add(node)
    return frozenset(layers)


def single_first_layer(network: fx.GraphModule, weighted: tuple[type, ...]) -> str | None:
    """The name of the layer with weights on every path from the image to the output; None if there is no such layer."""
    layers = first_layers(network, weighted)
    if len(layers) != 1:
        return None
    (name,) = layers
    # Does a path from the image reach the output without this layer?
    reached = {image_node(network.graph)}
    for node in network.graph.nodes:
        is_layer = node.op == "call_module" and node.target == name
        if not is_layer and not reads_shape(node) and not reached.isdisjoint(node.all_input_nodes):
            reached.add(node)
    if any(node.op == "output" for node in reached):
        return None
    return name


def relevance_source(network: fx.GraphModule, node: fx.Node, dependents: Collection[fx.Node]) -> fx.Node | None:
    """The input that receives all relevance of a product or of arithmetic with constants; None for other nodes.

    In a product, this is the first input that is not a gate.
    """
    sources = [source for source in node.all_input_nodes if source in dependents]
    if of_kind(network, node, (Multiply,)):
        ungated = [source for source in sources if not of_kind(network, source, GATES)]
        return next(iter(ungated or sources), None)
    if len(sources) == 1 and torch_callee(node) in ARITHMETIC:
        return sources[0]
    return None
