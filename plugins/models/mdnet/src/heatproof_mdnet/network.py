"""The network: features of the image, their classes, and a recurrence that attends to them word by word."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, conv1x1

BOUNDARY = 0
"""The index of the token that begins and ends a report."""


@dataclass(frozen=True)
class Sizes:
    """The ``channels`` and the number of ``blocks`` of each stage of features, and the sizes of what reads them.

    ``classes`` and ``tokens``, the words with the boundary, are numbers, and ``length`` is that of a report in words.
    ``units`` are those of the recurrence, of the words' vectors and of the attention's hidden layer.
    """

    channels: Sequence[int]
    blocks: Sequence[int]
    classes: int
    tokens: int
    length: int
    units: int


def residual_features(channels: Sequence[int], blocks: Sequence[int]) -> nn.Sequential:
    """Build a residual network up to its last grid, with the names of torchvision's (He et al. 2016).

    Images (n, 3, h, w) become maps (n, channels of the last stage, h', w'); each stage after the first halves the grid.
    """
    features = nn.Sequential()
    features.add_module("conv1", nn.Conv2d(3, channels[0], kernel_size=7, stride=2, padding=3, bias=False))
    features.add_module("bn1", nn.BatchNorm2d(channels[0]))
    features.add_module("relu", nn.ReLU())
    features.add_module("maxpool", nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
    width = channels[0]
    for number, (outputs, count) in enumerate(zip(channels, blocks), 1):
        stride = 1 if number == 1 else 2
        shortcut = None
        if stride > 1:
            shortcut = nn.Sequential(conv1x1(width, outputs, stride), nn.BatchNorm2d(outputs))
        first = BasicBlock(width, outputs, stride, shortcut)
        others = (BasicBlock(outputs, outputs) for _ in range(count - 1))
        features.add_module(f"layer{number}", nn.Sequential(first, *others))
        width = outputs
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return features


class Attention(nn.Module):
    """Additive attention: the share of every cell follows from its features and the state of the recurrence."""

    def __init__(self, features: int, units: int):
        super().__init__()
        self.cell = nn.Linear(features, units)
        self.state = nn.Linear(units, units, bias=False)
        self.activation = nn.Tanh()
        self.energy = nn.Linear(units, 1, bias=False)

    def forward(self, cells: Tensor, keys: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Cells (n, cell, features), their ``keys`` and the state (n, units) → shares (n, cell), and the mean cell."""
        energies = self.energy(self.activation(keys + self.state(state).unsqueeze(1))).squeeze(2)
        shares = energies.softmax(1)
        return shares, (cells * shares.unsqueeze(2)).sum(1)


class ReportNetwork(nn.Module):
    """A residual network that classifies the image, and an LSTM that describes it."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.length = sizes.length
        width = sizes.channels[-1]
        self.features = residual_features(sizes.channels, sizes.blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(width, sizes.classes)
        self.attention = Attention(width, sizes.units)
        self.state = nn.Linear(width, sizes.units)
        self.memory = nn.Linear(width, sizes.units)
        self.vectors = nn.Embedding(sizes.tokens, sizes.units)
        self.recurrence = nn.LSTMCell(sizes.units + width, sizes.units)
        self.word = nn.Linear(sizes.units, sizes.tokens)

    def forward(self, images: Tensor, words: Tensor | None = None) -> dict[str, Tensor]:
        """Images (n, 3, h, w) → logits, attention (n, t, h', w'), words (n, t) and word_logits (n, t, token).

        Every word is the likeliest after the words before it; with ``words`` (n, t), those of a report that is known,
        the words before it are those of the report, as in training.
        """
        maps = self.features(images)
        pooled = self.flatten(self.pool(maps))
        cells = maps.flatten(2).transpose(1, 2)
        keys = self.attention.cell(cells)
        state = torch.tanh(self.state(pooled))
        memory = torch.tanh(self.memory(pooled))
        token = torch.zeros_like(pooled[:, 0], dtype=torch.long)
        shares = []
        logits = []
        tokens = []
        for position in range(self.length):
            share, context = self.attention(cells, keys, state)
            state, memory = self.recurrence(torch.cat([self.vectors(token), context], 1), (state, memory))
            scores = self.word(state)
            likeliest = scores.argmax(1)
            token = likeliest if words is None else words[:, position]
            shares.append(share)
            logits.append(scores)
            tokens.append(likeliest)
        return {
            "logits": self.classifier(pooled),
            "attention": torch.stack(shares, 1).reshape(maps.shape[0], self.length, maps.shape[2], maps.shape[3]),
            "words": torch.stack(tokens, 1),
            "word_logits": torch.stack(logits, 1),
        }
