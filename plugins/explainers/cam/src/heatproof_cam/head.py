"""How a network ends: whether by a global pooling and one linear layer, as class activation maps need it."""

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
"""The dimensions of a mean over the whole map."""
IDLE = (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
RESHAPING = ("flatten", "view", "reshape", "squeeze", "dropout")
"""Functions and methods that leave pooled values as they are, one per channel."""


@dataclass(frozen=True)
class Head:
    """The node whose values (n, channel, *space) are pooled, and the linear layer that reads the pooled values."""

    pooled: fx.Node
    linear: nn.Linear


def head(module: fx.GraphModule, output: str, names: Sequence[str]) -> Head:
    """The head behind an output; raises ``ModelError`` saying what is there instead.

    ``names`` are the outputs of a network that returns a tuple.
    """
    last = _behind(module, output_of(module.graph, output, names))
    linear = module_of(module, last)
    if not isinstance(linear, nn.Linear):
        raise ModelError(f"{NEEDED}; here the output comes from {_described(module, last)}")
    pooling = _behind(module, last.all_input_nodes[0])
    if not _is_global(module_of(module, pooling)):
        raise ModelError(f"{NEEDED}; here the last linear layer reads {_described(module, pooling)}")
    return Head(pooling.all_input_nodes[0], linear)


def features(batch: Batch, module: fx.GraphModule, found: Head) -> Tensor:
    """The values that are pooled (n, channel, *space), by a forward that ends there."""
    graph = until(module, found.pooled)
    walk = fx.Interpreter(module, graph=graph)
    walk.extra_traceback = False
    values: Tensor = walk.run(*arguments(graph, batch.images, batch.inputs))
    if values.ndim != batch.images.ndim or values.shape[1] != found.linear.in_features:
        raise ModelError(
            f"{batch.model.short} pools values of shape {tuple(values.shape)} for {found.linear.in_features} weights "
            "per class; cam needs one channel per weight."
        )
    return values


def _behind(module: fx.GraphModule, node: fx.Node) -> fx.Node:
    """The first node before this one, or itself, that does more than pass values on or reshape them."""
    while of_kind(module, node, IDLE) or callee(node) in RESHAPING:
        node = node.all_input_nodes[0]
    return node


def _described(module: fx.GraphModule, node: fx.Node) -> str:
    called = module_of(module, node)
    return str(called) if called is not None else callee(node) or "the image itself"


def _is_global(pooling: nn.Module | None) -> bool:
    """Whether a module reduces each channel to one number."""
    if isinstance(pooling, Mean):
        return {pooling.dim} in EVERYWHERE if isinstance(pooling.dim, int) else {*pooling.dim} in EVERYWHERE
    sizes = pooling.output_size if isinstance(pooling, ADAPTIVE) else None
    return sizes == 1 or (isinstance(sizes, (tuple, list)) and {*sizes} == {1})
