"""Every installed explainer with the trait ``differentiable`` can be part of a loss, on real architectures."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.errors import HeatproofError
from heatproof.explainer import Explainer
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.records import Annotation, Sample
from heatproof.registry.catalog import default
from heatproof.testing import toys
from heatproof_heatmap_objectives.agreement import Agreement
from heatproof_heatmap_objectives.heatmap_segmentation import HeatmapSegmentation
from heatproof_objectives.objective import Objective
from heatproof_objectives.step import Step

SETTINGS = {"smoothgrad": {"samples": 2}, "smoothgrad_squared": {"samples": 2}, "vargrad": {"samples": 2}}


class Squares(Objective):
    """The mean square of the logits."""

    labelled = False

    def losses(self, step: Step) -> dict[str, Tensor]:
        return {"loss": step.outputs["logits"].square().mean()}


@cache
def differentiable() -> dict[str, Explainer]:
    """Installed explainer → with its defaults, if it has the trait."""
    explainers = {}
    for entry in default().entries:
        if entry.kind != "explainer":
            continue
        try:
            explainer = default().create("explainer", entry.full, SETTINGS.get(entry.name, {}))
        except (HeatproofError, ValueError):
            continue  # it has settings without a default
        if "differentiable" in explainer.traits:
            explainers[entry.name] = explainer
    return explainers


def step_of(model: Model, samples: list[Sample], training: bool = True) -> Step:
    """A step of images in float64, whose outputs are those of this mode."""
    images = torch.stack([torch.from_numpy(sample.image).double() for sample in samples])
    labels = [index % 2 for index in range(len(samples))]
    labelled = [Sample(sample.id, sample.image, sample.annotations, label) for sample, label in zip(samples, labels)]
    batch = Batch(model, [sample.id for sample in samples], images, labels, differentiable=True)
    model.network.train(training)
    return Step(batch, model.forward(images), labelled, training)


def length(loss: Tensor, model: Model) -> float:
    parameters = list(model.network.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    total = torch.cat([gradient.flatten() for gradient in gradients])
    assert bool(total.isfinite().all())
    return float(total.norm())


def test_agreement_of_every_differentiable_explainer_reaches_the_weights():
    """Of a residual network with BatchNorm in training mode; the disagreement falls along its gradient."""
    toy = toys.Residual(dimensions=2)
    model = Model.of(toy.network.double(), toy.classes, toy.preparation)
    samples = toy.samples(2)
    assert {"gradient", "guided_backprop", "deconvnet", "gradcam", "smoothgrad"} <= differentiable().keys()
    for name, explainer in differentiable().items():
        if explainer.verdict(model).level == "undefined":
            continue  # it reads an output, or attention, that this network does not compute
        mark = Annotation("mark", toys.region(0).astype(np.float32))
        marked = [Sample(sample.id, sample.image, (mark,)) for sample in samples]
        objective = Agreement(base=Squares(), explainer=explainer, finding="mark", measure="correlation")
        objective.require(model)
        losses = objective.losses(step_of(model, marked))
        assert length(losses["disagreement"], model) > 0, name


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet-b0"])
def test_second_derivatives_on_a_published_u_net_agree_with_finite_differences(encoder):
    """U-Nets of segmentation_models_pytorch with ReLU in place and with SiLU, in float64, by all weights together.

    The weights move little, since a guided map jumps where an activation changes its sign.
    """
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    network = smp.Unet(encoder, encoder_weights=None, aux_params={"classes": 3}).double()
    network = toys.calibrated(network, torch.rand(2, 3, 64, 64, dtype=torch.float64))
    model = Model.of(network, "abc", Resize(size=64), outputs=("mask", "logits"))
    rng = np.random.default_rng(0)
    gaze = Annotation("gaze", rng.uniform(size=(64, 64)), "density")
    step = step_of(model, [Sample("a", rng.uniform(size=(3, 64, 64)), (gaze,))], training=False)
    objective = HeatmapSegmentation(generator=default().create("explainer", "guided_backprop", {}), gamma=0)
    parameters = list(model.network.parameters())
    loss = objective.losses(step)["loss"]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    values = []
    for move in (1e-9, -2e-9):
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients):
                parameter.add_(move / norm * gradient)
        values.append(objective.losses(step)["loss"].item())
    assert (values[0] - values[1]) / 2e-9 == pytest.approx(norm.item(), rel=1e-4)
