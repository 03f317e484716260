"""A toy network with logits per pixel, whose sums over a region have a gradient in closed form."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .toys import CONVOLUTIONS, Toy, drawn


class Pixelwise(Toy):
    """One convolution gives the logits of both sides at each pixel; random weights."""

    def build(self) -> nn.Module:
        """A convolution over 3 pixels along each axis, with biases."""
        return drawn(nn.Sequential(CONVOLUTIONS[self.params.dimensions](3, 2, 3, padding=1)), self.params.seed)

    def gradient(self, region: Tensor, targets: Tensor) -> Tensor:
        """The gradient (n, c, *space) of each target's sum over a region (n, *space): the region under its weights."""
        transposed = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}[self.params.dimensions]
        weights: Tensor = self.network.get_parameter("0.weight").detach().to(region)
        rows = [transposed(row[None, None], weights[[side]], padding=1) for row, side in zip(region, targets.tolist())]
        return torch.cat(rows)
