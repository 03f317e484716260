"""Steps on synthetic images, with models of small networks."""

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.batch import Batch
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.records import Annotation, Sample
from heatproof_objectives.step import Step

SIZE = 4
NODULE = np.zeros((SIZE, SIZE), np.float32)
NODULE[1:3, 1:3] = 1
NODULE[0, 0] = 0.5


@pytest.fixture
def samples() -> list[Sample]:
    """Three synthetic images (1, 4, 4) with a nodule, scores of readers and a report."""
    rng = np.random.default_rng(0)
    scores = {
        "malignancy": ((1, 2, 2), (5,), (3, 4)),
        "margin": ((1, 2), (5, 5), (3,)),
        "texture": ((5,), (1,), (2, 4)),
    }
    reports = ("clear lungs", "opacity", "clear")
    return [
        Sample(
            f"s{row}", rng.uniform(size=(1, SIZE, SIZE)), (Annotation("nodule", NODULE),), row,
            extras={"scores": {name: values[row] for name, values in scores.items()}, "report": reports[row]},
        )
        for row in range(3)
    ]  # fmt: skip


@pytest.fixture
def model_of():
    """A function that makes a model in float64 of a network, with drawn weights, and the names of its outputs."""

    def make(network: nn.Module, *outputs: str, classes: str = "abc", head: str = "softmax") -> Model:
        rng = torch.Generator().manual_seed(0)
        network = network.double()
        with torch.no_grad():
            for weight in network.parameters():
                weight.copy_(torch.randn(weight.shape, generator=rng, dtype=torch.float64) / 2)
        model = Model.of(network, classes, Resize(size=SIZE, channels=1), head, outputs)
        model.network.train()
        return model

    return make


@pytest.fixture
def step():
    """A function that makes a step of a model and samples, with the network's outputs or with others."""

    def make(model: Model, samples: list[Sample], training: bool = True, **outputs: torch.Tensor) -> Step:
        images = torch.stack([torch.from_numpy(sample.image) for sample in samples])
        batch = Batch(model, [sample.id for sample in samples], images, [0] * len(samples), differentiable=True)
        return Step(batch, outputs or model.forward(images), samples, training)

    return make
