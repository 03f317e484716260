"""Modules for operations of a graph, and tuples of torch's module classes by kind."""

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
    """The mean over some dimensions, such as a global average pool."""

    def __init__(self, dim: int | tuple[int, ...], keepdim: bool = False):
        super().__init__()
        self.dim = dim
        self.keepdim = keepdim

    def forward(self, values: Tensor) -> Tensor:
        """The mean."""
        return values.mean(self.dim, self.keepdim)


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
    nn.Softplus, nn.Softsign, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Threshold,
)  # fmt: skip
