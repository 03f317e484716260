"""Finds the global pooling and the linear layer at the end of a network, which class activation maps need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.network.graph import arguments, callee, module_of, of_kind, output_of
from heatproof.network.modules import ADAPTIVE_AVERAGE_POOLS, ADAPTIVE_MAX_POOLS, CONVOLUTIONS, Mean
from heatproof_shared_passes.trunk import until

NEEDED = "cam needs a network that ends in a global pooling and one linear layer"
IDLE = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
RESHAPING = ("flatten", "view", "reshape", "squeeze", "dropout")
"""Functions and methods that keep pooled values, one per channel, unchanged."""


@dataclass(frozen=True)
class Head:
    """The node whose values (n, channel, *space) are pooled, and the linear layer that reads the pooled values."""

    pooled: fx.Node
    linear: nn.Linear


def find_head(module: fx.GraphModule, output: str, names: Sequence[str]) -> Head:
    """The head before an output; raises ``ModelError`` if the network ends in another way.

    ``names`` are the outputs of a network that returns a tuple.
    """
    last = _skip_reshaping(module, output_of(module.graph, output, names))
    linear = module_of(module, last)
    if not isinstance(linear, nn.Linear):
        raise ModelError(f"{NEEDED}; here the output comes from {_describe(module, last)}")
    pooling = _skip_reshaping(module, last.all_input_nodes[0])
    if module_of(module, pooling) is not None:
        (pooled,) = pooling.all_input_nodes[:1]
        is_flat = _is_flat(module, pooled)
        if _is_global(module_of(module, pooling), 1 if is_flat else _dimensions(module)):
            return Head(pooled.all_input_nodes[0] if is_flat else pooled, linear)
    raise ModelError(f"{NEEDED}; here the last linear layer reads the output of {_describe(module, pooling)}")


def features(batch: Batch, module: fx.GraphModule, head: Head) -> Tensor:
    """The values that are pooled (n, channel, *space), by a forward pass that ends at them."""
    graph = until(module, head.pooled)
    interpreter = fx.Interpreter(module, graph=graph)
    interpreter.extra_traceback = False
    values: Tensor = interpreter.run(*arguments(graph, batch.images, batch.inputs))
    if values.ndim != batch.images.ndim or values.shape[1] != head.linear.in_features:
        raise ModelError(
            f"{batch.model.short} pools values of shape {tuple(values.shape)} for {head.linear.in_features} weights "
            "per class; cam needs one channel per weight."
        )
    return values


def _skip_reshaping(module: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The last node up to this one that does more than reshape values or pass them on."""
    while of_kind(module, node, IDLE) or callee(node) in RESHAPING:
        node = node.all_input_nodes[0]
    return node


def _describe(module: fx.GraphModule, node: fx.Node) -> str:
    called = module_of(module, node)
    if called is not None:
        return str(called)
    return callee(node) or "the image itself"


def _is_flat(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is the values (n, channel, pixel) of a map, as by ``flatten(2)`` or ``view(n, channel, -1)``."""
    flatten: Any = module_of(module, node)
    if isinstance(flatten, nn.Flatten):
        return (flatten.start_dim, flatten.end_dim) == (2, -1)
    if callee(node) == "flatten":
        dimensions = dict(zip(("start_dim", "end_dim"), node.args[1:])) | node.kwargs
        return (dimensions.get("start_dim"), dimensions.get("end_dim", -1)) == (2, -1)
    sizes = node.args[1:]
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return callee(node) in ("view", "reshape") and len(sizes) == 3 and bool(sizes[-1] == -1)


def _dimensions(module: fx.GraphModule) -> int | None:
    """The number of spatial dimensions that a network's convolutions have; None without convolutions."""
    for node in module.graph.nodes:
        for dimensions, kind in enumerate(CONVOLUTIONS, 1):
            if of_kind(module, node, (kind,)):
                return dimensions
    return None


def _is_global(pooling: nn.Module | None, dimensions: int | None) -> bool:
    """Whether a module reduces each channel of maps with so many dimensions to one number; None stands for any."""
    if isinstance(pooling, Mean):
        axes = {pooling.dim} if not isinstance(pooling.dim, (tuple, list)) else {*pooling.dim}
        return any(
            axes in ({*range(2, 2 + count)}, {*range(-count, 0)})
            for count in ([dimensions] if dimensions else (1, 2, 3))
        )
    if not isinstance(pooling, (*ADAPTIVE_AVERAGE_POOLS, *ADAPTIVE_MAX_POOLS)):
        return False
    size = pooling.output_size
    return size == 1 or (isinstance(size, (tuple, list)) and {*size} == {1})
