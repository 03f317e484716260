"""A plugin of small networks with logits per pixel, and of one for the whole image."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from heatproof.component import Params
from heatproof.hooks import hookimpl
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.testing.toys import drawn

CLASSES = ("background", "haemorrhages", "soft_exudates")
SIZE = 32


class SegmentingParams(Params):
    """How the network gives its logits: on the grid of the image or on a coarser one, and as a tensor or by name."""

    grid: Literal[8, 16, 32] = 32
    named: bool = False


class UNet(nn.Module):
    """Two levels with a skip connection; the second output is for training alone."""

    def __init__(self, grid: int, named: bool):
        super().__init__()
        self.named = named
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.bottleneck = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.head = nn.Conv2d(12, 3, 1)
        self.reduce = nn.AvgPool2d(SIZE // grid)

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        fine = self.encoder(images)
        coarse = self.bottleneck(fine)
        logits = self.reduce(self.head(torch.cat([fine, self.up(coarse)], 1)))
        return {"out": logits, "aux": coarse} if self.named else logits


class Segmenting(Model[SegmentingParams]):
    """A U-Net with random weights that names two lesions of eyes, of which it never predicts the second."""

    classes = CLASSES
    preparation = Resize(size=SIZE, channels=3)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names that the network itself gives."""
        return ("out", "aux") if self.params.named else ("logits",)

    def build(self) -> nn.Module:
        """The network; a bias keeps one class from being predicted."""
        network = UNet(self.params.grid, self.params.named)
        drawn(network, 0)
        network.head.bias.data[2] = -100
        return network


class Deciding(Model):
    """A network that decides on one class of the whole image."""

    classes = CLASSES
    preparation = Resize(size=SIZE, channels=3)

    def build(self) -> nn.Module:
        """A convolution, the mean over the image, and a linear layer."""
        layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
        return drawn(nn.Sequential(*layers), 0)


@hookimpl
def heatproof_models() -> Mapping[str, str]:
    """The networks."""
    return {"segmenting": "heatproof_segmenting:Segmenting", "deciding": "heatproof_segmenting:Deciding"}
