"""A U-Net whose skip connections pass attention gates, with a mask and a class as outputs."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from heatproof.network.modules import Multiply
from heatproof_attention.trained import Trained, TrainedParams, Width
from heatproof_attention.vgg import resized


class AttentionUnetParams(TrainedParams):
    """The ``gate``'s function, the channels of each level, the image, and the classes.

    ``gate``: ``sigmoid``, or ``softmax`` over the positions. ``widths`` are the channels of the levels from the image
    down; each halves the grid of the one above. The other settings are those of ``TrainedParams``.
    """

    gate: Literal["sigmoid", "softmax"] = "sigmoid"
    widths: Annotated[tuple[Width, ...], Field(min_length=3, max_length=8)] = (16, 32, 64, 128, 256)


class AttentionUnet(Trained[AttentionUnetParams]):
    """The Attention U-Net of Oktay et al. 2018, with the classifier of Schlemper et al. 2019 on its gated features.

    Each skip connection but that of the image's own grid passes a gate, which weights its features by what the level
    below has seen. The logits are read from the means of the gated features and of the deepest ones. Outputs are
    ``logits`` (n, class), the logits of a ``mask`` (n, 1, size, size), and ``attention`` (n, gates, size, size), the
    weights of the gates from the finest to the coarsest, resized to the image by linear interpolation.
    """

    outputs = ("logits", "mask", "attention")

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.attention_names = tuple(f"level{level}" for level in range(2, len(self.params.widths)))

    def random_network(self) -> nn.Module:
        """Images (n, c, size, size) → logits (n, class), mask (n, 1, size, size) and attention (n, gates, …)."""
        params = self.params
        return AttentionUnetNetwork(params.width, params.widths, params.gate, len(params.classes))


class AttentionUnetNetwork(nn.Module):
    """An encoder, a decoder with gated skip connections, and two heads."""

    def __init__(self, channels: int, widths: Sequence[int], gate: str, classes: int):
        super().__init__()
        self.encoder = nn.ModuleList(_convolutions(*pair) for pair in pairwise((channels, *widths)))
        self.pools = nn.ModuleList(nn.MaxPool2d(2) for _ in widths[1:])
        self.gates = nn.ModuleList(AttentionGate(*pair, gate) for pair in pairwise(widths[1:]))
        self.gated = nn.ModuleList(Multiply() for _ in widths[2:])
        self.decoder = nn.ModuleList(_convolutions(skip + below, skip) for skip, below in pairwise(widths))
        self.mask = nn.Conv2d(widths[0], 1, 1)
        self.means = nn.ModuleList(nn.AdaptiveAvgPool2d(1) for _ in widths[1:])
        self.classifier = nn.Linear(sum(widths[1:]), classes)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, c, h, w) → logits (n, class), mask (n, 1, h, w) and attention (n, gates, h, w)."""
        skips = [self.encoder[0](images)]
        for pool, block in zip(self.pools, self.encoder[1:]):
            skips.append(block(pool(skips[-1])))
        values = skips.pop()
        pooled = [self.means[-1](values)]
        maps = []
        for level in reversed(range(1, len(skips))):
            weights = self.gates[level - 1](skips[level], values)
            gated = self.gated[level - 1](skips[level], weights)
            pooled.append(self.means[level - 1](gated))
            maps.append(resized(weights, images.shape[2:]))
            values = self._joined(level, gated, values)
        values = self._joined(0, skips[0], values)
        logits = self.classifier(torch.cat(pooled[::-1], 1).flatten(1))
        return {"logits": logits, "mask": self.mask(values), "attention": torch.cat(maps[::-1], 1)}

    def _joined(self, level: int, skip: Tensor, below: Tensor) -> Tensor:
        """The decoder's features of a level, from its skip connection and the level below."""
        features: Tensor = self.decoder[level](torch.cat([skip, resized(below, skip.shape[2:])], 1))
        return features


class AttentionGate(nn.Module):
    """An additive gate: the sigmoid or softmax of φ(ReLU(W l + U g)), where g is resized to the grid of l."""

    def __init__(self, channels: int, below: int, gate: str):
        super().__init__()
        inner = max(1, channels // 2)
        self.local = nn.Conv2d(channels, inner, 1, bias=False)
        self.below = nn.Conv2d(below, inner, 1)
        self.activation = nn.ReLU()
        self.score = nn.Conv2d(inner, 1, 1)
        self.weights: nn.Module = SpatialSoftmax()
        if gate == "sigmoid":
            self.weights = nn.Sigmoid()

    def forward(self, local: Tensor, below: Tensor) -> Tensor:
        """Features (n, c, h, w), and those of the level below → weights (n, 1, h, w)."""
        signal = resized(self.below(below), local.shape[2:])
        weights: Tensor = self.weights(self.score(self.activation(self.local(local) + signal)))
        return weights


class SpatialSoftmax(nn.Module):
    """The softmax over all positions of a map."""

    def forward(self, scores: Tensor) -> Tensor:
        """Scores (n, 1, h, w) → weights (n, 1, h, w) that sum to 1."""
        return scores.flatten(2).softmax(2).reshape(scores.shape)


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions with BatchNorm and ReLU."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number in (1, 2):
        parts[f"convolution{number}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        parts[f"norm{number}"] = nn.BatchNorm2d(outputs)
        parts[f"activation{number}"] = nn.ReLU()
        inputs = outputs
    return nn.Sequential(parts)
