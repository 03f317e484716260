"""A small U-Net with a classifier, steps on synthetic images, and explainers that need no other plugin."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.passes import gradients
from heatproof.records import Annotation, Sample, Verdict
from heatproof_objectives.objective import Objective
from heatproof_objectives.step import Step
from heatproof_shared_passes.rectification import rectification
from heatproof_shared_passes.rectified import rectified

SIZE = 6


class UNet(nn.Module):
    """Two levels with a mask of the image's size and three logits of the encoder's features."""

    def __init__(self, activation: type[nn.Module], inplace: bool):
        super().__init__()
        settings = {"inplace": inplace}
        self.shallow = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), activation(**settings))
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.activation = activation(**settings)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(4, 3)
        self.decoder = nn.Sequential(nn.Conv2d(7, 3, 3, padding=1), activation(**settings), nn.Conv2d(3, 1, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        shallow = self.shallow(images)
        deep = self.activation(self.deep(shallow))
        logits = self.classifier(self.dropout(deep.mean((2, 3))))
        up = nn.functional.interpolate(deep, scale_factor=2)
        return {"mask": self.decoder(torch.cat([shallow, up], 1)), "logits": logits}


class Plain(Explainer):
    """The gradient."""

    traits = frozenset({"signed", "differentiable"})

    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images


class Guided(Explainer):
    """Guided backpropagation."""

    traits = frozenset({"differentiable"})
    rule = "guided"

    def verdict(self, model: Model) -> Verdict:
        return rectification(model)

    def explain(self, batch: Batch) -> Tensor:
        return rectified(batch, self.rule)


class Deconvolved(Guided):
    """DeconvNet."""

    rule = "deconv"


class Detached(Plain):
    """The gradient without its graph, although it claims to be differentiable."""

    def explain(self, batch: Batch) -> Tensor:
        return gradients(batch).images.detach()


class Nothing(Plain):
    """A map of zeros that depends on the weights."""

    def explain(self, batch: Batch) -> Tensor:
        return 0 * gradients(batch).images


class Fixed(Plain):
    """Not differentiable."""

    traits = frozenset()


class CrossEntropy(Objective):
    """The cross-entropy of the classes."""

    def losses(self, step: Step) -> dict[str, Tensor]:
        return {"loss": nn.functional.cross_entropy(step.batch.model.scores(step.outputs["logits"]), step.labels())}


EXPLAINERS = {kind.__name__.lower(): kind() for kind in (Plain, Guided, Deconvolved, Detached, Nothing, Fixed)}


@pytest.fixture
def explainer():
    """A function from the name of a class above to its explainer."""
    return EXPLAINERS.__getitem__


@pytest.fixture
def base() -> Objective:
    """The objective that terms are added to."""
    return CrossEntropy()


@cache
def _model(activation: type[nn.Module], inplace: bool, head: str) -> Model:
    """A model in float64; its views are built once for all tests."""
    network = UNet(activation, inplace).double()
    return Model.of(network, "abc", Resize(size=SIZE), head, ("mask", "logits"))


@pytest.fixture
def unet():
    """A function that returns a model in float64, in training mode, with newly drawn weights and statistics."""

    def drawn(activation: type[nn.Module] = nn.ReLU, inplace: bool = False, head: str = "softmax") -> Model:
        model = _model(activation, inplace, head)
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for value in [*model.network.parameters(), *model.network.buffers()]:
                if value.is_floating_point():
                    value.copy_(torch.randn(value.shape, generator=rng, dtype=torch.float64) / 2)
            for module in model.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_var.abs_().add_(0.5)
        model.network.zero_grad()
        model.network.train()
        return model

    return drawn


@pytest.fixture
def samples() -> list[Sample]:
    """Three synthetic images with a label and a density of gaze."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, 3, SIZE, SIZE))
    gaze = rng.uniform(size=(3, SIZE, SIZE))
    return [
        Sample(f"s{index}", image, (Annotation("gaze", density, "density"),), index)
        for index, (image, density) in enumerate(zip(images, gaze))
    ]


@pytest.fixture
def step():
    """A function that makes a step of a model and samples, with the outputs of the network in evaluation mode.

    The outputs are those without dropout, so that a loss is a function of the weights.
    """

    def make(model: Model, samples: list[Sample], training: bool = True) -> Step:
        images = torch.stack([torch.from_numpy(sample.image) for sample in samples])
        labels = [sample.label if isinstance(sample.label, int) else 0 for sample in samples]
        batch = Batch(model, [sample.id for sample in samples], images, labels, differentiable=True)
        modes = [module.training for module in model.network.modules()]
        model.network.eval()
        outputs = model.forward(images)
        for module, mode in zip(model.network.modules(), modes):
            module.training = mode
        return Step(batch, outputs, samples, training)

    return make


@pytest.fixture
def slopes():
    """A function that compares the gradient of a loss along random directions with central differences.

    Returns the length of the gradient by all parameters, and the largest gap relative to it.
    """

    def compare(network: nn.Module, loss, directions: int = 2) -> tuple[float, float]:
        parameters = list(network.parameters())
        gradient = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
        length = float(torch.cat([part.flatten() for part in gradient]).norm())
        rng = torch.Generator().manual_seed(1)
        gaps = []
        for _ in range(directions):
            direction = [torch.randn(part.shape, generator=rng, dtype=torch.float64) for part in gradient]
            norm = torch.cat([part.flatten() for part in direction]).norm()
            direction = [part / norm for part in direction]
            expected = sum(float((part * along).sum()) for part, along in zip(gradient, direction))
            gaps.append(abs(_difference(parameters, direction, loss) - expected) / length)
        return length, max(gaps)

    return compare


def _difference(parameters, direction, loss, step: float = 1e-6) -> float:
    """The central difference of a loss along a direction; the parameters are as before afterwards."""
    originals = [parameter.detach().clone() for parameter in parameters]
    values = []
    for move in (step, -step):
        with torch.no_grad():
            for parameter, original, along in zip(parameters, originals, direction):
                parameter.copy_(original + move * along)
        values.append(float(loss().detach()))
    with torch.no_grad():
        for parameter, original in zip(parameters, originals):
            parameter.copy_(original)
    return (values[0] - values[1]) / (2 * step)


@pytest.fixture
def marked():
    """A function that replaces the annotations of a sample by masks or others, given as (finding, values, …)."""
    return lambda sample, *annotations: replace(sample, annotations=tuple(Annotation(*part) for part in annotations))
