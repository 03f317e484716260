from dataclasses import replace

import pytest
import torch
from torch import nn

from heatproof.errors import DataError, HeatproofError, ModelError
from heatproof.model import Model
from heatproof_heatmap_objectives import segmentation
from heatproof_heatmap_objectives.annotated import AnnotatedParams, targets
from heatproof_heatmap_objectives.distances import of_logits, of_maps, unit_range
from heatproof_heatmap_objectives.heatmap_segmentation import HeatmapSegmentation
from heatproof_heatmap_objectives.segmentation import Segmentation

ACTIVATIONS = [(nn.ReLU, False), (nn.ReLU, True), (nn.SiLU, True)]
IDS = ["relu", "relu in place", "silu in place"]


def length(loss, module: nn.Module) -> float:
    """The length of the gradient of a loss by the weights of a module."""
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("generator", ["guided", "deconvolved"])
@pytest.mark.parametrize(("activation", "inplace"), ACTIVATIONS, ids=IDS)
def test_second_derivatives_agree_with_finite_differences(
    unet, samples, step, explainer, slopes, activation, inplace, generator, number
):
    """Of the whole loss, in float64, by all weights of a network in training mode; without the graph there are none."""
    model = unet(activation, inplace)
    objective = HeatmapSegmentation(generator=explainer(generator), set=number, gamma=0.2, beta=0.3)
    objective.require(model)
    size, gap = slopes(model.network, lambda: objective.losses(step(model, samples))["loss"])
    assert size > 0.01
    assert gap <= 1e-6
    assert all(module.training for module in model.network.modules())


@pytest.mark.parametrize("generator", ["guided", "deconvolved"])
def test_the_heatmap_term_alone_changes_the_encoder(unet, samples, step, explainer, generator):
    model = unet()
    loss = HeatmapSegmentation(generator=explainer(generator), gamma=0).losses(step(model, samples))["loss"]
    assert length(loss, model.network.shallow) > 1e-3
    assert length(loss, model.network.classifier) > 1e-3
    assert length(loss, model.network.decoder) == 0
    before = model.network.deep[1].weight.detach().clone()
    loss.backward()
    with torch.no_grad():
        for weight in model.network.parameters():
            if weight.grad is not None:
                weight -= 0.01 * weight.grad
    assert not torch.equal(model.network.deep[1].weight, before)
    after = HeatmapSegmentation(generator=explainer(generator), gamma=0).losses(step(model, samples))["loss"]
    assert after.item() < loss.item()


@pytest.mark.parametrize("number", [1, 3])
def test_a_detached_generator_is_an_error(unet, samples, step, explainer, number):
    model = unet()
    objective = HeatmapSegmentation(generator=explainer("detached"), set=number)
    with pytest.raises(ModelError, match="the heatmaps of Detached are detached from the weights of UNet"):
        objective.losses(step(model, samples))
    assert objective.losses(step(model, samples, training=False))["loss"].item() > 0
    with pytest.raises(ModelError, match="Fixed lacks the trait 'differentiable', so no loss"):
        HeatmapSegmentation(generator=explainer("fixed"), set=number).require(model)


def test_in_set_2_the_heatmap_is_a_constant_teacher(unet, samples, step, explainer):
    model = unet()
    record = step(model, samples)
    objective = HeatmapSegmentation(generator=explainer("guided"), set=2, gamma=0)
    loss = objective.losses(record)["loss"]
    teacher = objective.heatmap(record)
    assert teacher.requires_grad
    expected = of_logits(record.outputs["mask"], teacher.detach().clone()).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert length(loss, model.network) == pytest.approx(length(expected, model.network), rel=1e-12)
    assert length(loss, model.network.classifier) == 0
    assert objective.losses(step(model, [replace(samples[0], annotations=())]))["loss"].item() > 0


def test_set_3_is_a_sum_of_both_terms_and_with_beta_1_the_baseline(unet, samples, step, explainer, passed):
    model = unet()
    record = step(model, samples)
    parts = {"generator": explainer("guided"), "set": 3, "gamma": 0.25}
    losses = HeatmapSegmentation(**parts, beta=0.7).losses(record)
    first = HeatmapSegmentation(**parts | {"set": 1}).losses(record)
    baseline = Segmentation(gamma=0.25).losses(record)
    assert losses["heatmap"].item() == pytest.approx(first["segmentation"].item(), rel=1e-12)
    assert losses["mask"].item() == baseline["segmentation"].item()
    assert losses["segmentation"].item() == pytest.approx(
        0.7 * losses["mask"].item() + 0.3 * losses["heatmap"].item(), rel=1e-12
    )
    count = passed(record.batch)
    alone = HeatmapSegmentation(**parts, beta=1).losses(record)
    assert {name: value.item() for name, value in alone.items()} == {
        name: value.item() for name, value in baseline.items()
    }
    assert not count


def test_set_3_by_hand(unet, samples, step, explainer, monkeypatch):
    """With D(m, s) = 0.4 and D(h, s) = 0.9: 0.41731 × 0.6 + 0.58269 × (0.7 × 0.4 + 0.3 × 0.9) = 0.5708655."""
    module = "heatproof_heatmap_objectives.heatmap_segmentation"
    number = lambda value: torch.full((3,), value, dtype=torch.float64)  # noqa: E731
    monkeypatch.setattr(segmentation, "CLASSIFICATIONS", {"bce": lambda step: number(0.6)[0]})
    monkeypatch.setattr(f"{module}.of_logits", lambda *maps: number(0.4))
    monkeypatch.setattr(f"{module}.of_maps", lambda *maps: number(0.9))
    objective = HeatmapSegmentation(generator=explainer("guided"), set=3, beta=0.7)
    assert objective.losses(step(unet(), samples))["loss"].item() == pytest.approx(0.5708655, abs=5e-8)


@pytest.mark.parametrize("distance", ["bce", "mse"])
def test_the_heatmap_is_the_largest_positive_channel_in_the_unit_range(unet, samples, step, explainer, distance):
    """The heatmap of each sample alone, in evaluation mode, although the network is in training mode."""
    model = unet()
    record = step(model, samples)
    objective = HeatmapSegmentation(generator=explainer("plain"), gamma=0, distance=distance)
    statistics = model.network.shallow[1].running_mean.clone()
    loss = objective.losses(record)["loss"]
    assert torch.equal(model.network.shallow[1].running_mean, statistics)
    model.network.eval()
    images = record.batch.images.clone().requires_grad_()
    scores = model.forward(images)["logits"].diagonal().sum()
    gradient = torch.autograd.grad(scores, images)[0].clamp_min(0).amax(1, keepdim=True)
    heat = torch.stack([(part - part.min()) / (part.max() - part.min()) for part in gradient])
    assert objective.heatmap(record).detach().numpy() == pytest.approx(heat.numpy(), abs=1e-12)
    expected = of_maps(heat, targets(record, AnnotatedParams()).maps, distance).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)


def test_a_network_that_cannot_be_traced_is_explained_in_evaluation_mode_too(unet, samples, step, explainer, slopes):
    """Its forward depends on values, so it runs itself, with hooks: BatchNorm and dropout would be in training mode."""
    traced = unet()
    kind = type(traced.network)

    class Branching(kind):
        def forward(self, images):
            return super().forward(images if float(images.detach().mean()) < 1e6 else -images)

    network = Branching(nn.ReLU, True).double()
    network.load_state_dict(traced.network.state_dict())
    model = Model.of(network, "abc", traced.preparation, outputs=("mask", "logits"))
    model.network.train()
    objective = HeatmapSegmentation(generator=explainer("plain"), set=3)
    objective.require(model)
    statistics = network.shallow[1].running_mean.clone()
    heat = objective.heatmap(step(model, samples))
    assert torch.equal(network.shallow[1].running_mean, statistics)
    expected = objective.heatmap(step(traced, samples))
    assert heat.detach().numpy() == pytest.approx(expected.detach().numpy(), abs=1e-12)
    _, gap = slopes(network, lambda: objective.losses(step(model, samples))["loss"], 1)
    assert gap <= 1e-6
    with pytest.raises(ModelError, match="no activation of Branching can be rectified: the network cannot be traced"):
        HeatmapSegmentation(generator=explainer("guided"), set=1).require(model)


def test_heatmaps_of_zeros_have_a_loss_and_finite_gradients(unet, samples, step, explainer):
    model = unet()
    record = step(model, samples)
    for number in (1, 2, 3):
        objective = HeatmapSegmentation(generator=explainer("nothing"), set=number)
        assert objective.heatmap(record).count_nonzero() == 0
        loss = objective.losses(record)["loss"]
        gradients = torch.autograd.grad(loss, list(model.network.parameters()), allow_unused=True, retain_graph=True)
        assert all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None)
    assert unit_range(torch.zeros(2, 1, 4)).count_nonzero() == 0


def test_set_1_needs_no_mask_and_the_others_do(unet, samples, step, explainer):
    model = unet()
    for number in (1, 2, 3):
        objective = HeatmapSegmentation(generator=explainer("guided"), set=number, output="lungs")
        if number == 1:
            objective.require(model)
        else:
            with pytest.raises(ModelError, match="needs the output 'lungs'"):
                objective.require(model)
    with pytest.raises(DataError, match="has no label"):
        HeatmapSegmentation(generator=explainer("guided"), set=1).losses(step(model, [replace(samples[0], label=None)]))
    with pytest.raises(DataError, match="has 2 labels"):
        HeatmapSegmentation(generator=explainer("guided")).losses(step(model, [replace(samples[0], label=(0, 1))]))
    with pytest.raises(HeatproofError, match="set"):
        HeatmapSegmentation(generator=explainer("guided"), set=4)


def test_a_generator_that_is_not_defined_on_the_network_is_refused(unet, explainer):
    from heatproof_shared_passes.rectification import rectification

    kind = type(explainer("guided"))
    undefined = type("Guided", (kind,), {"verdict": lambda self, model: rectification(model, "relu_only")})
    with pytest.raises(ModelError, match="its activations are SiLU; act_policy: all rectifies them"):
        HeatmapSegmentation(generator=undefined(), set=1).require(unet(nn.SiLU))
