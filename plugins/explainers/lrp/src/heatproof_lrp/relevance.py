"""Rewrites a traced network such that Zennit's rules can follow its sums, its products and its constants.

Zennit's rules apply to modules with a single input only. Without the rewriting, relevance would silently go wrong at
all other nodes. Zennit's canonizers are not used: they search for kinds of blocks that a traced network no longer has,
and their merging of BatchNorm changes the output.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from zennit.layer import Sum

from heatproof.network.graph import attribute, dependents, image_node, of_kind
from heatproof.network.modules import Add
from heatproof_shared_passes.trunk import until

from .graph import relevance_source

_NETWORKS: WeakKeyDictionary[nn.Module, fx.GraphModule] = WeakKeyDictionary()
_STEMS: WeakKeyDictionary[nn.Module, dict[str, fx.GraphModule]] = WeakKeyDictionary()


class Redirect(torch.autograd.Function):
    """Values that send all their relevance to one source tensor, whatever else they were computed from."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, values: Tensor) -> Tensor:
        """The unchanged values; the source has their shape or was broadcast to it."""
        ctx.shape = source.shape
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> Any:
        """The relevance of the source, summed over the dimensions that were broadcast."""
        return relevance.sum_to_size(ctx.shape), None


def redirected(source: Tensor, values: Tensor) -> Tensor:
    """The unchanged values, with all their relevance sent to ``source``."""
    return Redirect.apply(source, values.detach())  # type: ignore[no-any-return]


def stacked(*values: Tensor) -> Tensor:
    """The terms of a sum as one tensor (term, *shape), which a module with a single input can sum."""
    return torch.stack(torch.broadcast_tensors(*values))  # type: ignore[no-untyped-call]


def relevance_network(network: fx.GraphModule) -> fx.GraphModule:
    """The same modules in a graph that Zennit's rules can follow; built once per network and freed together with it."""
    if network not in _NETWORKS:
        _NETWORKS[network] = _rewritten(network)
    return _NETWORKS[network]


def _rewritten(network: fx.GraphModule) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.graph_copy(network.graph, {}))
    sources = _relevance_sources(network, graph)
    sums: dict[str, nn.Module] = {}
    redirections: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        if of_kind(network, node, (Add,)):
            _stack_terms(graph, node)
            sums[str(node.target)] = Sum(0)
        elif node in sources:
            source = sources[node]
            redirections[node] = _redirect(graph, node, redirections.get(source, source))
    paths = [str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")]
    attributes = {path: attribute(network, path) for path in paths}
    return fx.GraphModule(attributes | sums, graph).eval()


def _relevance_sources(network: fx.GraphModule, graph: fx.Graph) -> dict[fx.Node, fx.Node]:
    """Node → the input that receives all its relevance, for the nodes that have such an input."""
    reached = dependents(image_node(graph))
    sources = {node: relevance_source(network, node, reached) for node in graph.nodes}
    return {node: source for node, source in sources.items() if source is not None}


def _stack_terms(graph: fx.Graph, node: fx.Node) -> None:
    """Let a sum read one stack of its terms."""
    with graph.inserting_before(node):
        node.args = (graph.call_function(stacked, node.args),)


def _redirect(graph: fx.Graph, node: fx.Node, source: fx.Node) -> fx.Node:
    """Let the readers of a node read the same values from a new node, which sends their relevance to ``source``."""
    readers = list(node.users)
    with graph.inserting_after(node):
        redirection = graph.call_function(redirected, (source, node))
    for reader in readers:
        reader.replace_input_with(node, redirection)
    return redirection


def stem(network: fx.GraphModule, name: str) -> fx.GraphModule:
    """The part of a relevance network up to this layer; built once and freed together with the network."""
    stems = _STEMS.setdefault(network, {})
    if name not in stems:
        (layer,) = network.graph.find_nodes(op="call_module", target=name)
        stems[name] = fx.GraphModule(network, until(network, layer)).eval()
    return stems[name]


@contextmanager
def parameters_restored(network: nn.Module) -> Iterator[None]:
    """Restore the Parameter objects afterwards: Zennit 1.0 replaces those that a rule modifies by new ones."""
    snapshot = [(module, dict(module._parameters)) for module in network.modules()]
    try:
        yield
    finally:
        for module, parameters in snapshot:
            module._parameters.update(parameters)
