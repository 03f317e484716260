"""Images that a network may take, for learning the shapes of what it computes."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .modules import CONVOLUTIONS
from .weights import tensors

SIZES = {2: (224, 256, 299, 384, 448, 512, 128, 96, 64, 32, 28, 16, 8, 4, 2), 3: (64, 96, 128, 32, 16, 8, 4, 2)}
"""Usual sizes of pictures and volumes, by the number of axes."""


def examples(network: nn.Module, channels: int | None, size: int | Sequence[int] | None) -> Iterator[Tensor]:
    """Random images (1, c, *space) of the known channels and size, or of those that are usual."""
    first = next((module for module in network.modules() if isinstance(module, CONVOLUTIONS)), None)
    dimensions = [2, 3]
    if first is not None and first.weight.ndim == 5:
        dimensions = [3, 2]
    likely = [] if first is None else [first.in_channels]
    widths = [channels] if channels else list(dict.fromkeys([*likely, 3, 1]))
    weight = next(iter(tensors(network)), torch.empty(0))
    dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
    rng = torch.Generator().manual_seed(0)
    for space in _spaces(size, dimensions):
        for width in widths:
            image = torch.rand((1, width, *space), generator=rng)  # values that any preparation may give
            yield image.to(device=weight.device, dtype=dtype)


def _spaces(size: int | Sequence[int] | None, dimensions: Sequence[int]) -> Iterator[tuple[int, ...]]:
    if size is not None and not isinstance(size, int):
        yield tuple(size)
        return
    for axes in dimensions:
        for side in SIZES[axes] if size is None else (size,):
            yield (side,) * axes
