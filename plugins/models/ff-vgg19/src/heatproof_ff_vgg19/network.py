"""The network of FF-VGG19."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

Pooling = Literal["average", "flatten"]
HIDDEN = 512
DROPOUT = 0.5


class FusedVGG19(nn.Module):
    """VGG19's convolutions up to the last tap; each tap's features; and dense layers on all of them.

    The convolutions have torchvision's names, ``features.0`` and so on; a tap is that of the pooled output of a block,
    ``taps.2`` of block 2.
    """

    def __init__(self, classes: int, taps: Sequence[int], pooling: Pooling, size: int):
        super().__init__()
        self.features, channels = _convolutions(max(taps))
        self.taps = nn.ModuleDict({str(block): _tap(channels[block - 1], pooling) for block in taps})
        length = sum(channels[block - 1] * _cells(block, pooling, size) for block in taps)
        self.classifier = nn.Sequential(
            nn.Linear(length, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) → logits (n, class)."""
        logits: Tensor = self.classifier(self.fused(images))
        return logits

    def fused(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) → the features of all taps (n, feature), those of the first block first."""
        values = images
        features: list[Tensor] = []
        block = 0
        for layer in self.features:
            values = layer(values)
            if isinstance(layer, nn.MaxPool2d):
                block += 1
                if str(block) in self.taps:
                    features.append(self.taps[str(block)](values))
        return torch.cat(features, 1)


def _convolutions(blocks: int) -> tuple[nn.Sequential, list[int]]:
    """Build torchvision's convolutions of the first blocks, drawn for ReLU (He et al. 2015), and return their channels.

    The channels are those of each block.
    """
    from torchvision.models.vgg import cfgs, make_layers

    plan = cfgs["E"]
    ends = [position for position, layer in enumerate(plan, 1) if layer == "M"]
    features = make_layers(plan[: ends[blocks - 1]])
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, layer.bias))
    return features, [int(plan[end - 2]) for end in ends]


def _tap(channels: int, pooling: Pooling) -> nn.Sequential:
    """Build what makes features (n, feature) of a block's pooled output (n, channel, h, w)."""
    parts: dict[str, nn.Module] = {"norm": nn.BatchNorm2d(channels), "dropout": nn.Dropout(DROPOUT)}
    if pooling == "average":
        parts["pool"] = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(OrderedDict(**parts, flatten=nn.Flatten()))


def _cells(block: int, pooling: Pooling, size: int) -> int:
    """The number of features of a tap per channel; each of the blocks halves the side of the map, rounded down."""
    return 1 if pooling == "average" else (size >> block) ** 2
