"""Subjects whose features are planted: the first layer hands the channels of an image on unchanged."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.model import Model
from heatproof.records import Array, Sample
from heatproof_inspectors.memory import InMemory

Planted = Callable[..., InMemory]


@pytest.fixture(scope="session")
def planted() -> Planted:
    def build(features: Array, labels: Sequence[int | None] = (), classes: Sequence[str] = ("a", "b", "c")) -> InMemory:
        channels = features.shape[1]
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(channels, len(classes)),
        )  # fmt: skip
        with torch.no_grad():
            network[0].weight.copy_(torch.eye(channels)[:, :, None, None])
        images = np.broadcast_to(features[:, :, None, None], (*features.shape, 4, 4)).astype(np.float32)
        samples = [
            Sample(f"s{row:03}", image, label=label)
            for row, (image, label) in enumerate(zip(images, labels or [None] * len(images)))
        ]
        return InMemory(Model.of(network, classes), samples, classes)

    return build
