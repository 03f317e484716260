"""Finds the global pooling and the linear layer at the end of a network, which class activation maps need."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, fx, nn

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.network.graph import arguments, callee, module_of, of_kind, output_of
from heatproof.network.modules import Mean
from heatproof_shared_passes.trunk import until

NEEDED = "cam needs a network that ends in a global pooling and one linear layer"
ADAPTIVE = (
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
EVERYWHERE = ({2}, {2, 3}, {2, 3, 4}, {-1}, {-1, -2}, {-1, -2, -3})
"""The dimensions of a mean over all pixels, counted from the front or from the back."""
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
    if not _is_global(module_of(module, pooling)):
        raise ModelError(f"{NEEDED}; here the last linear layer reads the output of {_describe(module, pooling)}")
    return Head(pooling.all_input_nodes[0], linear)


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


def _is_global(pooling: nn.Module | None) -> bool:
    """Whether a module reduces each channel to one number."""
    if isinstance(pooling, Mean):
        dimensions = {pooling.dim} if isinstance(pooling.dim, int) else {*pooling.dim}
        return dimensions in EVERYWHERE
    if not isinstance(pooling, ADAPTIVE):
        return False
    size = pooling.output_size
    return size == 1 or (isinstance(size, (tuple, list)) and {*size} == {1})
