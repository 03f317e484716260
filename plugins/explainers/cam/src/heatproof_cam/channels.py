"""The number of channels of a layer, for estimates."""

import torch
from torch import nn

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.passes import activations

USUAL_CHANNELS = 512
"""The channels of the last layer of a usual network, for an estimate without a model."""
WIDTHS = ("out_channels", "num_features", "out_features", "num_channels")
"""The attributes in which modules name the channels of their output."""


def channels(model: Model, layer: str, space: tuple[int, ...]) -> int:
    """The number of channels of a layer for images of this space, by one forward pass.

    Where the network takes further inputs, or no image is known that it takes: the largest number of any module.
    """
    example = model.outline.example
    if example is None:
        return max((_width(module) for module in model.network.modules()), default=1)
    name = model.layer(layer)
    tensor = next(iter(model.network.parameters()), example)
    noise = torch.rand(1, example.shape[1], *space, generator=torch.Generator().manual_seed(0), dtype=model.dtype)
    batch = Batch(model, ["a"], noise.to(tensor.device), [0], layers=(name,))
    return int(activations(batch)[name].shape[1])


def _width(module: nn.Module) -> int:
    return max((int(getattr(module, name, 0)) for name in WIDTHS), default=0)
