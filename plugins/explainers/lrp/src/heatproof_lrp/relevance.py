"""A network made ready for Zennit: relevance has a way through its sums, its products and its constants.

Zennit's rules see modules only, and of these one input. What would silently go wrong for that reason is rewritten, so
that Zennit's own hooks could follow it too; no canonizer of Zennit's is attached, since they look for kinds of blocks
that a traced network no longer has, and their merging of BatchNorm moves the output.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from zennit.layer import Sum

from heatproof.network.graph import attribute, of_kind
from heatproof.network.modules import Add
from heatproof_shared_passes.trunk import until

from .graph import carrier, dependent

_NETWORKS: WeakKeyDictionary[nn.Module, fx.GraphModule] = WeakKeyDictionary()
_STEMS: WeakKeyDictionary[nn.Module, dict[str, fx.GraphModule]] = WeakKeyDictionary()


class Through(torch.autograd.Function):
    """Some values as they are; all their relevance goes to the tensor that they were made of.

    What else they were made of has no part in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, source: Tensor, values: Tensor) -> Tensor:
        """The values; the source has their shape, or was broadcast to it."""
        ctx.shape = source.shape
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> Any:
        """The relevance of the source, summed where it was broadcast."""
        return relevance.sum_to_size(ctx.shape), None


def through(source: Tensor, values: Tensor) -> Tensor:
    """``values``, with all their relevance for ``source``."""
    return Through.apply(source, values.detach())  # type: ignore[no-any-return]


def stacked(*values: Tensor) -> Tensor:
    """Tensors as one, which a module with one input can sum."""
    return torch.stack(torch.broadcast_tensors(*values))  # type: ignore[no-untyped-call]


def relevance_network(network: fx.GraphModule) -> fx.GraphModule:
    """The same modules in a graph that Zennit can follow; made once per network, and freed with it."""
    if network not in _NETWORKS:
        _NETWORKS[network] = _rewritten(network)
    return _NETWORKS[network]


def _rewritten(network: fx.GraphModule) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.graph_copy(network.graph, {}))
    dependents, sums = dependent(graph), dict[str, nn.Module]()
    carriers = {node: source for node in graph.nodes if (source := carrier(network, node, dependents))}
    passed: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        if of_kind(network, node, (Add,)):
            _stack(graph, node)
            sums[str(node.target)] = Sum(0)
        elif node in carriers:
            passed[node] = _passed(graph, node, passed.get(carriers[node], carriers[node]))
    owned = [node for node in graph.nodes if node.op in ("call_module", "get_attr")]
    held = {str(node.target): attribute(network, str(node.target)) for node in owned}
    return fx.GraphModule(held | sums, graph).eval()


def _stack(graph: fx.Graph, node: fx.Node) -> None:
    """Let a sum read one stack of its terms."""
    with graph.inserting_before(node):
        node.args = (graph.call_function(stacked, node.args),)


def _passed(graph: fx.Graph, node: fx.Node, source: fx.Node) -> fx.Node:
    """What the readers of a node read from now on: the same values, with their relevance for the node's source."""
    readers = list(node.users)
    with graph.inserting_after(node):
        passed = graph.call_function(through, (source, node))
    for reader in readers:
        reader.replace_input_with(node, passed)
    return passed


def stem(network: fx.GraphModule, name: str) -> fx.GraphModule:
    """The part of a relevance network that ends with this layer; made once, and freed with the network."""
    parts = _STEMS.setdefault(network, {})
    if name not in parts:
        (last,) = network.graph.find_nodes(op="call_module", target=name)
        parts[name] = fx.GraphModule(network, until(network, last)).eval()
    return parts[name]


@contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Leave the Parameters as they were: Zennit 1.0 gives those that a rule modifies back as new ones."""
    kept = [(module, dict(module._parameters)) for module in network.modules()]
    try:
        yield
    finally:
        for module, parameters in kept:
            module._parameters.update(parameters)
