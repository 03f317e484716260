"""Which nodes of a network compute a box of their output from a box of their inputs, and from which box."""

import operator
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from heatproof.network.graph import attribute
from heatproof.network.modules import ACTIVATIONS, BATCH_NORMS, CONVOLUTIONS, MAX_POOLS, Add, Concatenate, Multiply

AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
POINTWISE = (*ACTIVATIONS, *BATCH_NORMS, Add, Multiply, nn.Identity, nn.Dropout, nn.Dropout2d, nn.Dropout3d)
ARITHMETIC = frozenset({
    operator.add, operator.sub, operator.mul, operator.truediv, operator.neg,
    torch.add, torch.sub, torch.mul, torch.div, torch.neg,
})  # fmt: skip
"""Modules and functions that compute each value from the inputs at the same position."""


@dataclass(frozen=True)
class ReceptiveField:
    """How a convolution or a pooling reads along one axis; ``before`` and ``after`` are the padding of its two ends."""

    kernel: int
    stride: int
    before: int
    after: int
    dilation: int

    @property
    def is_pointwise(self) -> bool:
        """Whether every output reads only the input at the same position."""
        return (self.kernel, self.stride, self.before, self.after) == (1, 1, 0, 0)

    @property
    def width(self) -> int:
        """The number of inputs from the first to the last that one output reads, both included."""
        return (self.kernel - 1) * self.dilation + 1


def receptive_fields(module: nn.Module | None, dimensions: int) -> tuple[ReceptiveField, ...] | None:
    """How a convolution or pooling reads along each axis; None for any other module.

    Also None for modules that treat the border differently: ``ceil_mode``, or an average that does not count padding.
    """
    settings: Any = module
    if isinstance(module, CONVOLUTIONS):
        special = settings.padding_mode != "zeros"
    elif isinstance(module, MAX_POOLS):
        special = settings.ceil_mode or settings.return_indices
    elif isinstance(module, AVERAGE_POOLS):
        padded = any(_per_axis(settings.padding, dimensions))
        special = settings.ceil_mode or (padded and not settings.count_include_pad)
    else:
        return None
    if special:
        return None
    kernel = _per_axis(settings.kernel_size, dimensions)
    stride = _per_axis(settings.stride, dimensions)
    dilation = _per_axis(getattr(settings, "dilation", 1), dimensions)
    before, after = zip(*_paddings(settings.padding, kernel, dilation))
    return tuple(map(ReceptiveField, kernel, stride, before, after, dilation))


def pointwise(node: fx.Node, module: nn.Module | None, maps: Collection[fx.Node], dimensions: int) -> bool:
    """Whether a node computes each value from the same position of ``maps``, and otherwise only from constants.

    A constant is a tensor of the network with one value for all positions.
    """
    others = (source for source in node.all_input_nodes if source not in maps)
    if not all(_is_constant(source, dimensions) for source in others):
        return False
    if isinstance(module, Concatenate):
        return module.dim in (1, -dimensions - 1)
    return isinstance(module, POINTWISE) or node.target in ARITHMETIC or _picks_channel(node)


def _per_axis(setting: Any, dimensions: int) -> tuple[Any, ...]:
    """A setting of a module as one value per axis."""
    if isinstance(setting, (tuple, list)):
        return tuple(setting)
    return (setting,) * dimensions


def _paddings(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    """The padding before and after each axis, for numbers, ``same`` and ``valid``."""
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        totals = [(size - 1) * step for size, step in zip(kernel, dilation)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(size, size) for size in _per_axis(padding, len(kernel))]


def _is_constant(node: fx.Node, dimensions: int) -> bool:
    """Whether a node is a tensor of the network with one value for all positions, such as a mean per channel."""
    if node.op != "get_attr" or node.graph.owning_module is None:
        return False
    shape = attribute(node.graph.owning_module, str(node.target)).shape
    return set(shape[-dimensions:]) <= {1} and len(shape) <= dimensions + 2


def _picks_channel(node: fx.Node) -> bool:
    """Whether a node is part of ``x[:, i].unsqueeze(1)``, as in torchvision's InceptionV3."""
    if node.target is torch.unsqueeze:
        (source, *settings) = node.args
        return settings == [1] and isinstance(source, fx.Node) and _picks_channel(source)
    if node.target is not operator.getitem:
        return False
    match node.args[1]:
        case (slice(start=None, stop=None, step=None), int()):
            return all(reader.target is torch.unsqueeze and reader.args[1:] == (1,) for reader in node.users)
    return False
