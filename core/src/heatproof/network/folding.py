"""Merges every BatchNorm that follows a convolution into it, in float64."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import ModelError
from .graph import of_kind, only_reader
from .modules import BATCH_NORMS, CONVOLUTIONS
from .tracing import OBSERVED


def fold(module: fx.GraphModule, images: Tensor, channels_last: bool = True) -> tuple[fx.GraphModule, dict[str, str]]:
    """A frozen copy with BatchNorms merged into convolutions, in the dtype and on the device of ``images``.

    Pictures go through it in ``channels_last`` memory, which is faster, unless that is switched off.
    The second result maps each convolution to the BatchNorm merged into it (node names). A BatchNorm stays if it has no
    running statistics or if its convolution has other readers. Raises ``ModelError`` if one was not merged by mistake.
    """
    folded = copy.deepcopy(module).double()
    merged = {}
    for node, norm in list(pairs(folded)):
        if _mergeable(folded, node, norm):
            _merge(folded, node, norm)
            merged[node.name] = norm.name
    folded.delete_all_unused_submodules()
    folded.recompile()
    if missed := [norm.name for node, norm in pairs(folded) if _mergeable(folded, node, norm)]:
        raise ModelError(f"BatchNorm {missed[0]!r} follows a convolution, but was not merged; please report it.")
    folded.to(device=images.device, dtype=images.dtype).requires_grad_(False)
    if channels_last and images.ndim == 4:
        _channels_last(folded)
    return folded.eval(), merged


def freeze(module: fx.GraphModule, images: Tensor) -> tuple[fx.GraphModule, dict[str, str]]:
    """A frozen copy in the dtype and on the device of ``images``, with nothing merged."""
    frozen = copy.deepcopy(module).to(device=images.device, dtype=images.dtype).requires_grad_(False)
    return frozen.eval(), {}


def _channels_last(module: fx.GraphModule) -> None:
    """Convert every tensor of four dimensions to channels_last memory; ``Module.to`` fails on five dimensions."""
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)


def pairs(module: fx.GraphModule) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Each convolution with each BatchNorm that reads it."""
    for norm in module.graph.nodes:
        if of_kind(module, norm, BATCH_NORMS) and of_kind(module, norm.all_input_nodes[0], CONVOLUTIONS):
            yield norm.all_input_nodes[0], norm


def _mergeable(module: fx.GraphModule, node: fx.Node, norm: fx.Node) -> bool:
    batch_norm: Any = module.get_submodule(str(norm.target))
    return only_reader(node) is norm and batch_norm.running_mean is not None


def _merge(module: fx.GraphModule, node: fx.Node, norm: fx.Node) -> None:
    convolution: Any = module.get_submodule(str(node.target))
    batch_norm: Any = module.get_submodule(str(norm.target))
    owner, _, leaf = str(node.target).rpartition(".")
    setattr(module.get_submodule(owner), leaf, fuse_conv_bn_eval(convolution, batch_norm))
    node.meta[OBSERVED] = norm.meta.get(OBSERVED, [])
    norm.replace_all_uses_with(node)
    module.graph.erase_node(norm)
