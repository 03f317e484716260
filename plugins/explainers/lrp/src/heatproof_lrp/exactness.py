"""Decides whether every layer of a network has a rule, and says what replaces the rules that are missing."""

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.network.graph import (
    callee,
    dependents,
    image_node,
    module_of,
    of_kind,
    only_reader,
    output_of,
    reads_shape,
)  # fmt: skip
from heatproof.network.modules import ACTIVATIONS, BATCH_NORMS, CONVOLUTIONS, Add, Concatenate, Mean, Multiply
from heatproof.records import Verdict

from .graph import relevance_source

WITH_RULE = (
    *CONVOLUTIONS, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear, nn.ReLU, Add, Concatenate,
    Mean, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.Identity, nn.Flatten, nn.Unflatten,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip
"""Modules that have a rule, or only move values."""

MOVING = frozenset({
    "flatten", "reshape", "view", "permute", "transpose", "movedim", "squeeze", "unsqueeze", "getitem", "contiguous",
    "chunk", "split", "cat", "stack", "expand", "unbind", "select", "narrow", "dropout", "dropout2d", "dropout3d",
    "getattr",
})  # fmt: skip
"""Functions that only move values; ``getattr`` reads a shape or transposes, as ``.mT`` does."""

REMARKS: Mapping[str, str] = {
    "activation": "relevance passes through {} unchanged, as it does through a ReLU",
    "gate": "in products ({}) the gate counts as a constant",
    "constants": "relevance passes arithmetic with constants ({}) unchanged",
    "norm": "BatchNorm that cannot be merged into a convolution ({}) passes relevance unchanged",
    "gradient": "no rule exists for {}, so relevance passes by the gradient",
}
"""What replaces a missing rule → the words of the verdict, with a gap for the names of nodes."""


def exactness(model: Model, batch_norm_rule: bool) -> Verdict:
    """The verdict on a model: exact if every layer has a rule, approximate if not, undefined if it cannot be traced.

    ``batch_norm_rule``: BatchNorm has a rule and is not merged into convolutions.
    """
    network = model.outline.module
    if network is None:
        return Verdict("undefined", f"{model.short} cannot be traced ({model.outline.reason}), so no layer has a rule")
    reached = dependents(image_node(network.graph))
    nodes = _relevance_nodes(network, reached, _start(model, network.graph))
    for node in nodes:
        norm: Any = module_of(network, node)
        if batch_norm_rule and isinstance(norm, BATCH_NORMS) and norm.running_mean is None:
            reason = f"{node.target} of {model.short} has no running statistics, which batch_norm: innvestigate needs"
            return Verdict("undefined", f"{reason}; use batch_norm: merged")
    # Dictionaries without values serve as sets that keep their order.
    names: dict[str, dict[str, None]] = {remark: {} for remark in REMARKS}
    for node in nodes:
        remark = _remark(network, node, reached, batch_norm_rule)
        if remark:
            names[remark][_name(network, node, remark)] = None
    reasons = [text.format(_abridged(list(names[remark]))) for remark, text in REMARKS.items() if names[remark]]
    if reasons:
        return Verdict("approximate", f"in {model.short} {'; '.join(reasons)}")
    return Verdict("exact")


def _start(model: Model, graph: fx.Graph) -> fx.Node:
    """The node at which relevance starts: the explained output, or the end of a graph without it."""
    try:
        return output_of(graph, model.explained, model.outputs)
    except ModelError:
        return graph.output_node()


def _relevance_nodes(network: fx.GraphModule, dependents: set[fx.Node], start: fx.Node) -> list[fx.Node]:
    """The nodes that relevance visits between ``start`` and the image, in order of evaluation."""
    visited = {start}
    for node in reversed(network.graph.nodes):
        if node not in visited:
            continue
        source = relevance_source(network, node, dependents)
        if source is None:
            visited |= dependents.intersection(node.all_input_nodes)
        else:
            visited.add(source)
    visited &= dependents
    return [node for node in network.graph.nodes if node in visited]


def _abridged(names: list[str]) -> str:
    """The first three names, and the number of further ones."""
    text = ", ".join(names[:3])
    if len(names) > 3:
        text += f" and {len(names) - 3} more"
    return text


def _remark(network: fx.GraphModule, node: fx.Node, dependents: set[fx.Node], batch_norm_rule: bool) -> str:
    """The key in ``REMARKS`` of what replaces the rule of a node; empty if the node has a rule or needs none."""
    module = module_of(network, node)
    if node.op == "placeholder" or isinstance(module, WITH_RULE) or callee(node) in MOVING or reads_shape(node):
        return ""
    if isinstance(module, BATCH_NORMS):
        exact = batch_norm_rule or _is_merged(network, node)
        return "" if exact else "norm"
    if isinstance(module, ACTIVATIONS):
        return "activation"
    if relevance_source(network, node, dependents) is None:
        return "gradient"
    return "gate" if isinstance(module, Multiply) else "constants"


def _is_merged(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the folded view merges a BatchNorm into the convolution before it."""
    source = node.all_input_nodes[0]
    statistics: Any = network.get_submodule(str(node.target)).running_mean
    return of_kind(network, source, CONVOLUTIONS) and only_reader(source) is node and statistics is not None


def _name(network: fx.GraphModule, node: fx.Node, remark: str) -> str:
    """The name of a node in a verdict: of BatchNorm its module name, of other nodes their class or function."""
    module = module_of(network, node)
    if remark == "norm":
        return str(node.target)
    if module is None:
        return callee(node)
    return type(module).__name__
