"""Capsules: vectors whose length says whether something is there, and routing by agreement between layers of them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

START = 1.0
"""The logit of every route before the first iteration."""
BIAS = 0.1
"""The first value of every bias of a capsule."""


def squash(vectors: Tensor) -> Tensor:
    """Shorten vectors (…, atoms) of length r to r² / (1 + r²), below 1, in their direction (Sabour et al. 2017).

    >>> squash(torch.tensor([3.0, 4.0], dtype=torch.float64)).numpy().round(8).tolist()
    [0.57692308, 0.76923077]
    """
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors * (lengths / (1 + lengths * lengths))


class PrimaryCapsules(nn.Module):
    """A convolution with stride 2 whose channels are capsules; as many cells as half of its input, rounded up."""

    def __init__(self, size: int, features: int, kernel: int, capsules: int, atoms: int):
        super().__init__()
        self.cells = math.ceil(size / 2)
        border = max((self.cells - 1) * 2 + kernel - size, 0)
        before = border // 2
        after = border - before
        self.padding = nn.ZeroPad2d((before, after, before, after))
        self.convolution = nn.Conv2d(features, capsules * atoms, kernel, stride=2)
        self.convolution.bias = nn.Parameter(torch.full((capsules * atoms,), BIAS))
        self.capsules = nn.Unflatten(1, (capsules, atoms))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (n, features, size, size) → capsules (n, rows · columns · capsules, atoms), in this order."""
        vectors = self.capsules(self.convolution(self.padding(maps)))
        return squash(vectors.permute(0, 3, 4, 1, 2).flatten(1, 3))


class RoutedCapsules(nn.Module):
    """Capsules that sum the votes of all capsules below, weighted by how well each vote agrees with the sum.

    The weight of a route is a sigmoid, so that a capsule below may vote for several above (LaLonde et al. 2020).
    """

    def __init__(self, inputs: int, atoms: int, capsules: int, outputs: int, iterations: int):
        super().__init__()
        self.iterations = iterations
        self.weight = nn.Parameter(torch.randn(inputs, atoms, capsules, outputs) * math.sqrt(2 / (inputs * atoms)))
        self.bias = nn.Parameter(torch.full((capsules, outputs), BIAS))

    def forward(self, below: Tensor) -> Tensor:
        """Capsules (n, inputs, atoms) → capsules (n, capsules, outputs)."""
        votes = torch.einsum("nia,iaco->nico", below, self.weight)
        vectors = squash(votes.sum(1) / (1 + math.exp(-START)) + self.bias)
        logits: Tensor | float = START
        for _ in range(self.iterations - 1):
            logits = logits + (votes * vectors.unsqueeze(1)).sum(3)
            routes = torch.sigmoid(logits).unsqueeze(3)
            vectors = squash((routes * votes).sum(1) + self.bias)
        return vectors


class CapsuleNetwork(nn.Module):
    """A convolution, two layers of capsules, and from the last: attributes, malignancy, and the image again."""

    def __init__(
        self, size: int, features: int, kernel: int, capsules: int, atoms: int, attributes: int, outputs: int,
        iterations: int, decoder: Sequence[int], classes: int,
    ):  # fmt: skip
        super().__init__()
        self.convolution = nn.Conv2d(1, features, kernel)
        self.activation = nn.ReLU()
        self.primary = PrimaryCapsules(size - kernel + 1, features, kernel, capsules, atoms)
        inputs = self.primary.cells**2 * capsules
        self.attributes = RoutedCapsules(inputs, atoms, attributes, outputs, iterations)
        self.classifier = nn.Linear(attributes * outputs, classes)
        layers: list[nn.Module] = []
        width = attributes * outputs
        for units in decoder:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        pixels = nn.Linear(width, size * size)
        self.decoder = nn.Sequential(*layers, pixels, nn.Sigmoid(), nn.Unflatten(1, (1, size, size)))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, 1, size, size) in 0 … 1 → ``logits``, ``attributes`` (n, attribute) and ``reconstruction``."""
        vectors = self.attributes(self.primary(self.activation(self.convolution(images))))
        flat = vectors.flatten(1)
        return {
            "logits": self.classifier(flat),
            "attributes": torch.linalg.vector_norm(vectors, dim=2),
            "reconstruction": self.decoder(flat),
        }
