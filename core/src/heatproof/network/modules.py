"""Modules for operations of a graph, and tuples of torch's module classes by kind."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

ModuleClass = type[nn.Module]


class Add(nn.Module):
    """The sum of tensors, with broadcasting."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """The sum."""
        for value in others:
            first = first + value
        return first


class Multiply(nn.Module):
    """The product of two tensors, such as features and their gate."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The product."""
        return first * second


class Concatenate(nn.Module):
    """Tensors concatenated along one dimension."""

    def __init__(self, dim: int = 0):
        super().__init__()
        self.dim = dim

    def forward(self, *values: Tensor) -> Tensor:
        """The concatenated tensor."""
        return torch.cat(values, self.dim)


class Mean(nn.Module):
    """The mean over some dimensions, such as a global average pool; by default, over all."""

    def __init__(self, dim: int | tuple[int, ...] | None = None, keepdim: bool = False):
        super().__init__()
        self.dim = dim
        self.keepdim = keepdim

    def forward(self, values: Tensor) -> Tensor:
        """The mean."""
        return values.mean(self.dim, self.keepdim)


RECTIFIERS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "clamp": lambda values: values.clamp_min(0),
    "maximum": lambda values: torch.maximum(values, values.new_zeros(())),
    "where": lambda values: torch.where(values >= 0, values, 0),
}
"""Ways to compute max(values, 0) with another derivative at 0 than a ReLU has."""


class Rectifier(nn.ReLU):
    """A ReLU that a network spells by other operations, and that keeps their derivative at 0; see ``RECTIFIERS``."""

    def __init__(self, spelling: str):
        super().__init__()
        self.spelling = spelling

    def forward(self, values: Tensor) -> Tensor:
        """max(values, 0)."""
        return RECTIFIERS[self.spelling](values)


class Clamp(nn.Hardtanh):
    """Values cut off at one or two bounds, with the derivative of torch's clamp at the bounds."""

    def __init__(self, low: float | None = None, high: float | None = None):
        super().__init__(-math.inf if low is None else low, math.inf if high is None else high)

    def forward(self, values: Tensor) -> Tensor:
        """The values between the bounds."""
        return values.clamp(self.min_val, self.max_val)


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORMS = (
    *BATCH_NORMS, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
NORM_CALLS = frozenset({"batch_norm", "group_norm", "layer_norm", "instance_norm", "rms_norm"})
PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
"""Modules that pass values on unchanged in evaluation mode."""
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
ADAPTIVE_MAX_POOLS = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
ADAPTIVE_AVERAGE_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
POOLS = (*MAX_POOLS, *AVERAGE_POOLS, *ADAPTIVE_MAX_POOLS, *ADAPTIVE_AVERAGE_POOLS)
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Softplus, nn.Softsign, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Tanhshrink, nn.Hardtanh, nn.Hardswish,
    nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink, nn.Threshold,
)  # fmt: skip
