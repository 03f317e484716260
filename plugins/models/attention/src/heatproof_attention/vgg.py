"""VGG with trainable attention at three depths."""

from collections import OrderedDict
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from heatproof.network.modules import Multiply
from heatproof_attention.trained import Trained, TrainedParams, Width

REDUCTION = 32
"""The pixels per axis that one value of the global features stands for."""
CONVOLUTIONS = (2, 2, 3, 3, 3)
"""The convolutions of the first five blocks; two more with a pooling behind each of them follow."""


class AttentionVggParams(TrainedParams):
    """The ``compatibility`` of local with global features, the image, and the classes.

    ``dp`` is their dot product, ``pc`` the product of their sum with a learned vector. ``size``, a multiple of 32, is
    the side of the prepared image in pixels, by default that of the paper; one kernel reads the whole last map, so
    weights fit one size. ``widths`` are the channels of the six blocks. The other settings are those of
    ``TrainedParams``.
    """

    compatibility: Literal["dp", "pc"] = "pc"
    size: Annotated[int, Field(ge=REDUCTION, le=1024, multiple_of=REDUCTION)] = REDUCTION
    widths: tuple[Width, Width, Width, Width, Width, Width] = (64, 128, 256, 512, 512, 512)


class AttentionVgg(Trained[AttentionVggParams]):
    """VGG-att3 of Jetley et al. 2018: the class is decided on features gathered by attention at three depths.

    Jetley, Lord, Lee and Torr, "Learn to pay attention" (ICLR 2018). The local features of blocks 3, 4 and 5, before
    their pooling, are compared with the global features behind block 6; a softmax over the positions gives the weights
    of their sum, and one linear layer reads the three sums. The output ``attention`` (n, 3, size, size) are the three
    maps of weights, of size, size / 2 and size / 4 cells per axis, resized to the image by linear interpolation.
    """

    outputs = ("logits", "attention")
    attention_names = ("block3", "block4", "block5")

    def random_network(self) -> nn.Module:
        """Images (n, c, size, size) → logits (n, class) and attention (n, 3, size, size)."""
        params = self.params
        cells = params.size // REDUCTION
        return AttentionVggNetwork(params.width, params.widths, cells, params.compatibility, len(params.classes))


class AttentionVggNetwork(nn.Module):
    """Six blocks of convolutions, three attentions, and one linear layer."""

    def __init__(self, channels: int, widths: tuple[int, ...], cells: int, compatibility: str, classes: int):
        super().__init__()
        inputs = (channels, *widths)
        blocks = (_block(inputs[index], widths[index], count) for index, count in enumerate(CONVOLUTIONS))
        self.block1, self.block2, self.block3, self.block4, self.block5 = blocks
        self.pool3 = nn.MaxPool2d(2)
        self.pool4 = nn.MaxPool2d(2)
        self.pool5 = nn.MaxPool2d(2)
        self.block6 = _block(widths[4], widths[5], 2, pooled=True)
        self.dense = nn.Conv2d(widths[5], widths[5], cells)
        self.attention3, self.attention4, self.attention5 = (
            LocalAttention(width, widths[5], compatibility) for width in widths[2:5]
        )
        self.classifier = nn.Linear(3 * widths[5], classes)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, c, h, w) → logits (n, class) and attention (n, 3, h, w)."""
        third = self.block3(self.block2(self.block1(images)))
        fourth = self.block4(self.pool3(third))
        fifth = self.block5(self.pool4(fourth))
        whole = self.dense(self.block6(self.pool5(fifth)))
        weights3, sum3 = self.attention3(third, whole)
        weights4, sum4 = self.attention4(fourth, whole)
        weights5, sum5 = self.attention5(fifth, whole)
        logits = self.classifier(torch.cat([sum3, sum4, sum5], 1))
        maps = [resized(weights, images.shape[2:]) for weights in (weights3, weights4, weights5)]
        return {"logits": logits, "attention": torch.cat(maps, 1)}


class LocalAttention(nn.Module):
    """The softmax over all positions of the compatibility of local features with the global ones.

    Where they differ in their channels, a linear map brings the local ones to those of the global ones.
    """

    def __init__(self, channels: int, width: int, compatibility: str):
        super().__init__()
        self.projection: nn.Module = nn.Identity()
        if channels != width:
            self.projection = nn.Conv2d(channels, width, 1, bias=False)
        self.compatibility: nn.Module = DotProduct()
        if compatibility == "pc":
            self.compatibility = Parametrised(width)
        self.softmax = nn.Softmax(2)
        self.weighted = Multiply()

    def forward(self, local: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Local (n, d, h, w) and global features (n, d, 1, 1) → weights (n, 1, h, w), and the weighted sum (n, d)."""
        local = self.projection(local)
        scores = self.compatibility(local, whole)
        weights = self.softmax(scores.flatten(2)).reshape(scores.shape)
        return weights, self.weighted(local, weights).sum((2, 3))


class DotProduct(nn.Module):
    """The dot product of local and global features."""

    def forward(self, local: Tensor, whole: Tensor) -> Tensor:
        """Features (n, d, h, w) and (n, d, 1, 1) → scores (n, 1, h, w)."""
        return (local * whole).sum(1, keepdim=True)


class Parametrised(nn.Module):
    """The product of a learned vector with the sum of local and global features."""

    def __init__(self, width: int):
        super().__init__()
        self.direction = nn.Conv2d(width, 1, 1, bias=False)

    def forward(self, local: Tensor, whole: Tensor) -> Tensor:
        """Features (n, d, h, w) and (n, d, 1, 1) → scores (n, 1, h, w)."""
        scores: Tensor = self.direction(local + whole)
        return scores


def resized(maps: Tensor, space: torch.Size) -> Tensor:
    """Maps or features (n, c, h, w) on another grid, by linear interpolation that does not align the corners."""
    return functional.interpolate(maps, size=space, mode="bilinear", align_corners=False)


def _block(inputs: int, outputs: int, count: int, pooled: bool = False) -> nn.Sequential:
    """Convolutions with BatchNorm and ReLU, with a pooling behind each of them if they are ``pooled``."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, count + 1):
        parts[f"convolution{number}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        parts[f"norm{number}"] = nn.BatchNorm2d(outputs)
        parts[f"activation{number}"] = nn.ReLU()
        if pooled:
            parts[f"pool{number}"] = nn.MaxPool2d(2)
        inputs = outputs
    return nn.Sequential(parts)
