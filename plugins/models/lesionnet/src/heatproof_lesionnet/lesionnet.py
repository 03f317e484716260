"""LesionNet: a small network with a packaged checkpoint that grades fundus photographs."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from heatproof.component import Location, Params
from heatproof.digests import file_digest
from heatproof.model import Model
from heatproof_checkpoints.checkpoint import load_weights
from heatproof_fundus.photograph import Centre, Fundus

PACKAGED = Path(__file__).with_name("lesionnet.safetensors")
BLOCKS = ((3, 8, 1), (8, 16, 2), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 96, 2), (96, 96, 1))
"""Channels in, channels out and stride of each block of the backbone."""
HIDDEN = 32
"""Units of the head's hidden layer."""


class LesionNetParams(Params):
    """The weights, and the centre of the prepared image.

    ``weights``: a checkpoint of this architecture; by default the packaged checkpoint. ``centre``: the middle of the
    field of view, or that of the photograph (``picture``) as in published code.
    """

    weights: Location | None = None
    centre: Centre = "field"


class LesionNet(Model[LesionNetParams]):
    """Grades diabetic retinopathy with eight convolutions; one cell of the last map stands for 16 × 16 pixels.

    The first convolution keeps all 448 × 448 pixels, so the network can detect a microaneurysm of two pixels. The
    output is one sigmoid unit trained with the ordinal squared error (Beckham and Pal 2016, "A simple squared-error
    reformulation for ordinal classification"), as in the networks of Van Craenendonck et al. 2020. The packaged
    checkpoint was trained on synthetic photographs only. It is for examples and tests, never for patients.
    """

    classes = ("no_dr", "mild", "moderate", "severe", "proliferative")
    head = "ordinal"

    def __init__(self, **params: Any):
        super().__init__(**params)
        self.preparation = Fundus(size=448, channels=3, centre=self.params.centre)

    def build(self) -> nn.Module:
        """Images (n, 3, 448, 448) → logits (n, 1); raises ``ModelError`` where the checkpoint does not fit."""
        return load_weights(LesionNetwork(), self.params.weights or PACKAGED)

    def content(self) -> str:
        """The digest of the packaged checkpoint; empty where the settings give other weights."""
        if self.params.weights:
            return ""
        return file_digest(PACKAGED)


class LesionNetwork(nn.Module):
    """Blocks of convolution, BatchNorm and ReLU; global average pooling; two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*(_block(*block) for block in BLOCKS))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Sequential(nn.Linear(BLOCKS[-1][1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) → logits (n, 1)."""
        return self.grade(self.features(images))

    def grade(self, features: Tensor) -> Tensor:
        """The backbone's last map (n, 96, h / 16, w / 16) → logits (n, 1)."""
        logits: Tensor = self.head(self.flatten(self.pool(features)))
        return logits


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            convolution=nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
            norm=nn.BatchNorm2d(outputs),
            activation=nn.ReLU(),
        )
    )
