"""The network: an encoder for the image, one for each frame, a recurrence over frames, and attention over them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

CHANNELS = 64
"""The maps of an encoder's convolution."""
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""The normalisation of images and frames, that of ImageNet."""


class Encoder(nn.Module):
    """One convolution, a pooling, and dense layers: images (n, 3, size, size) → (n, outputs)."""

    def __init__(self, size: int, hidden: Sequence[int], outputs: int, dropout: float):
        super().__init__()
        self.convolution = nn.Conv2d(3, CHANNELS, kernel_size=7, stride=2, padding=3, bias=False)
        self.activation = nn.ReLU()
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.flatten = nn.Flatten()
        layers: list[nn.Module] = []
        width = CHANNELS * math.ceil(size / 4) ** 2
        for units in hidden:
            layers += [nn.Linear(width, units), nn.BatchNorm1d(units, momentum=0.01), nn.ReLU()]
            width = units
        self.hidden = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Linear(width, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, size, size) → embeddings (n, outputs)."""
        maps = self.norm(self.activation(self.convolution(images)))
        embeddings: Tensor = self.embedding(self.dropout(self.hidden(self.flatten(self.pool(maps)))))
        return embeddings


class Recurrence(nn.Module):
    """A bidirectional LSTM of one layer over sequences of several lengths.

    Each sequence is turned within its own length for the second direction, so what fills it up is never read.
    """

    def __init__(self, inputs: int, units: int):
        super().__init__()
        self.ahead = nn.LSTM(inputs, units, batch_first=True)
        self.back = nn.LSTM(inputs, units, batch_first=True)

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Values (n, t, inputs) with a mask (n, t) → states (n, t, 2 units) and the last states (n, 2 units).

        The last states begin with those of the direction back. States behind the end of a sequence mean nothing.
        """
        lengths = mask.sum(1, keepdim=True)
        turned = (lengths - mask.cumsum(1)).clamp_min(0).unsqueeze(2)
        ahead = self.ahead(values)[0]
        back = torch.take_along_dim(self.back(torch.take_along_dim(values, turned, 1))[0], turned, 1)
        end = torch.take_along_dim(ahead, (lengths - 1).unsqueeze(2), 1)
        return torch.cat([ahead, back], 2), torch.cat([back[:, 0], end[:, 0]], 1)


class GazeNetwork(nn.Module):
    """Embeddings of the image and of the sequence of frames, and one linear layer on both."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, hidden: Sequence[int], embedding: int, dropout: float, classes: int):
        super().__init__()
        units = hidden[-1] // 2
        self.image = Encoder(size, hidden, embedding, dropout)
        self.frame = Encoder(size, hidden, embedding, dropout)
        self.recurrence = Recurrence(embedding, units)
        self.context = nn.Linear(2 * units, embedding)
        self.classifier = nn.Linear(2 * embedding, classes)
        self.scale = 1 / math.sqrt(units)
        self.register_buffer("mean", torch.tensor(MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).reshape(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, frames: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Images (n, 3, size, size), frames (n, t, size, size) in 0 … 1 and their mask (n, t) → the outputs.

        The outputs are ``logits`` (n, class) and ``frame_attention`` (n, t), which sums to 1 over the frames in the
        mask and is 0 elsewhere.
        """
        states, last = self.recurrence(self._embedded(frames, mask), mask)
        agreement = (states * last.unsqueeze(1)).sum(2) * self.scale
        attention = agreement.masked_fill(~mask, -math.inf).softmax(1)
        context = self.context((states * attention.unsqueeze(2)).sum(1))
        logits = self.classifier(torch.cat([self.image(images), context], 1))
        return {"logits": logits, "frame_attention": attention}

    def _embedded(self, frames: Tensor, mask: Tensor) -> Tensor:
        """The embeddings (n, t, embedding) of frames; the encoder gets those in the mask only."""
        embeddings: Tensor = self.frame((frames[mask].unsqueeze(1) - self.mean) / self.std)
        numbers = mask.flatten().cumsum(0).sub(1).clamp_min(0).reshape(mask.shape)
        return embeddings[numbers]
