"""Finds the nodes of a network that are not linear in the image, and so need a rule or keep their derivative."""

from collections.abc import Iterator
from typing import Any

from torch import fx, nn

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.network.graph import ancestors, callee, dependents, image_node, module_of, output_of, torch_callee
from heatproof.network.modules import (
    ADAPTIVE_AVERAGE_POOLS,
    AVERAGE_POOLS,
    BATCH_NORMS,
    CONVOLUTIONS,
    Add,
    Concatenate,
    Mean,
    Multiply,
)  # fmt: skip

LINEAR = (
    *CONVOLUTIONS, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear, *AVERAGE_POOLS,
    *ADAPTIVE_AVERAGE_POOLS, nn.Flatten, nn.Unflatten, nn.Identity, nn.Upsample, nn.UpsamplingNearest2d,
    nn.UpsamplingBilinear2d, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Fold, nn.Unfold,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d,
    nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d, nn.ReplicationPad1d, nn.ReplicationPad2d,
    nn.ReplicationPad3d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d, Add, Concatenate, Mean,
)  # fmt: skip
"""Modules that are linear in all their inputs, up to a constant; dropout is off."""
ARRANGING = frozenset({
    "flatten", "unflatten", "reshape", "view", "permute", "transpose", "movedim", "moveaxis", "swapaxes", "t",
    "squeeze", "unsqueeze", "contiguous", "chunk", "split", "tensor_split", "cat", "concat",
    "concatenate", "stack", "expand", "expand_as", "broadcast_to", "repeat", "tile", "unbind", "select", "narrow",
    "flip", "roll", "rot90", "clone", "to", "float", "double", "type_as", "pad", "dropout", "dropout1d",
    "dropout2d", "dropout3d", "alpha_dropout", "pixel_shuffle", "pixel_unshuffle", "fold", "unfold",
})  # fmt: skip
"""Functions, operators and methods that move values."""
SUMMING = frozenset({
    "add", "iadd", "sub", "isub", "subtract", "rsub", "neg", "negative", "pos", "positive", "sum", "mean", "cumsum",
    "interpolate", "upsample", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
})  # fmt: skip
"""Functions, operators and methods that add values with fixed weights."""
PRODUCTS = frozenset({
    "mul", "imul", "multiply", "matmul", "mm", "bmm", "baddbmm", "addmm", "einsum", "tensordot", "linear", "conv1d",
    "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "dot", "inner", "outer",
})  # fmt: skip
"""Functions, operators and methods that are linear in each of several tensors."""
TRANSPOSED = ("T", "mT", "H", "mH")
"""Attributes of a tensor that are the tensor with its axes exchanged."""
QUOTIENTS = frozenset({"truediv", "itruediv", "div", "divide", "true_divide"})


def not_linear(model: Model) -> Iterator[fx.Node]:
    """The nodes between the image and the explained output that are not linear up to a constant, in order.

    A product or quotient of two tensors counts if both depend on the image; a BatchNorm, if it has no statistics. The
    model's network must be traceable.
    """
    network = model.outline.module
    assert network is not None
    nodes = dependents(image_node(network.graph))
    needed = _needed(model, network.graph)
    for node in network.graph.nodes:
        if node in nodes & needed and node.op != "placeholder" and not _is_linear(network, node, nodes):
            yield node


def _needed(model: Model, graph: fx.Graph) -> set[fx.Node]:
    """The nodes that the explained output is computed from; all where the graph has no such output."""
    try:
        return ancestors(output_of(graph, model.explained, model.outputs))
    except ModelError:
        return set(graph.nodes)


def name_of(network: fx.GraphModule, node: fx.Node) -> str:
    """What a node computes: the class of its module, or the name of its function or method."""
    module = module_of(network, node)
    return callee(node) if module is None else type(module).__name__


def _is_linear(network: fx.GraphModule, node: fx.Node, nodes: set[fx.Node]) -> bool:
    module: Any = module_of(network, node)
    called = torch_callee(node)
    if isinstance(module, BATCH_NORMS):
        return module.running_mean is not None
    if isinstance(module, LINEAR) or called in ARRANGING | SUMMING:
        return True
    factors: list[fx.Node] = []
    fx.node.map_arg((node.args, node.kwargs), factors.append)
    variable = [factor for factor in factors if factor in nodes]
    if called in QUOTIENTS or called == "getitem":
        return variable == list(node.args[:1])
    if node.target is getattr:
        return node.args[1] in TRANSPOSED
    return len(variable) == 1 and (isinstance(module, Multiply) or called in PRODUCTS)
