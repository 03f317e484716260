"""Where relevance propagation is defined by its rules, and where something else stands in for them."""

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from heatproof.model import Model
from heatproof.network.graph import callee, module_of, of_kind, only_reader, reads_shape
from heatproof.network.modules import ACTIVATIONS, BATCH_NORMS, CONVOLUTIONS, Add, Concatenate, Mean, Multiply
from heatproof.records import Verdict

from .graph import carrier, dependent

RULED = (
    *CONVOLUTIONS, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear, nn.ReLU, Add, Concatenate,
    Mean, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.Identity, nn.Flatten, nn.Unflatten,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip
"""The modules that have a rule, or only move values."""

MOVING = frozenset({
    "flatten", "reshape", "view", "permute", "transpose", "movedim", "squeeze", "unsqueeze", "getitem", "contiguous",
    "chunk", "split", "cat", "stack", "expand", "unbind", "select", "narrow", "dropout", "dropout2d", "dropout3d",
    "getattr",
})  # fmt: skip
"""The functions that only move values; ``getattr`` is a transpose such as ``.mT`` where it is not a shape."""

REMARKS: Mapping[str, str] = {
    "activation": "relevance passes through {} unchanged, as it does through a ReLU",
    "gate": "in products ({}) the gate counts as a constant",
    "constants": "relevance passes arithmetic with constants ({}) unchanged",
    "norm": "BatchNorm that no convolution can take up ({}) passes relevance unchanged",
    "gradient": "no rule exists for {}, which keep their gradient",
}
"""What stands in for a rule → how a verdict says so."""


def exactness(model: Model, batch_norm: bool) -> Verdict:
    """Exact for networks of convolutions, linear layers, ReLU, pools, sums and concatenations, else approximate.

    ``batch_norm`` says that BatchNorm has a rule of its own and is not merged. Undefined where nothing can be traced.
    """
    network = model.outline.module
    if network is None:
        return Verdict("undefined", f"{model.short} cannot be traced ({model.outline.reason}), so no layer has a rule")
    found: dict[str, dict[str, None]] = {remark: {} for remark in REMARKS}
    dependents = dependent(network.graph)
    for node in _reached(network, dependents):
        if remark := _remark(network, node, dependents, batch_norm):
            found[remark][_word(network, node, remark)] = None
    reasons = [REMARKS[remark].format(_listed(list(words))) for remark, words in found.items() if words]
    return Verdict("approximate", f"in {model.short} {'; '.join(reasons)}") if reasons else Verdict("exact")


def _reached(network: fx.GraphModule, dependents: set[fx.Node]) -> list[fx.Node]:
    """The nodes that relevance passes on its way from the outputs to the image, in order of evaluation."""
    reached = {network.graph.output_node()}
    for node in reversed(network.graph.nodes):
        if node in reached:
            source = carrier(network, node, dependents)
            reached |= {source} if source else dependents.intersection(node.all_input_nodes)
    reached &= dependents
    return [node for node in network.graph.nodes if node in reached]


def _listed(words: list[str]) -> str:
    """The first three of some words, and how many more there are."""
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def _remark(network: fx.GraphModule, node: fx.Node, dependents: set[fx.Node], batch_norm: bool) -> str:
    """What stands in for a rule at a node; empty where it has one."""
    module = module_of(network, node)
    if node.op == "placeholder" or isinstance(module, RULED) or callee(node) in MOVING or reads_shape(node):
        return ""
    if isinstance(module, BATCH_NORMS):
        return "" if batch_norm or _merged(network, node) else "norm"
    if isinstance(module, ACTIVATIONS):
        return "activation"
    if carrier(network, node, dependents) is None:
        return "gradient"
    return "gate" if isinstance(module, Multiply) else "constants"


def _merged(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the folded view merges a BatchNorm into the convolution before it."""
    source, norm = node.all_input_nodes[0], network.get_submodule(str(node.target))
    statistics: Any = norm.running_mean
    return of_kind(network, source, CONVOLUTIONS) and only_reader(source) is node and statistics is not None


def _word(network: fx.GraphModule, node: fx.Node, remark: str) -> str:
    """How a verdict names a node: a BatchNorm by its name, anything else by its kind."""
    module = module_of(network, node)
    if remark == "norm":
        return str(node.target)
    return callee(node) if module is None else type(module).__name__
