"""Shared passes: correct values from one forward and one backward pass, for any number of rows per pass."""

import weakref

import pytest
import torch
from torch import Tensor, nn

from heatproof import passes
from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.testing.bench import in_float64
from heatproof.testing.toys import Residual


class Aside(Model):
    """A network with a convolution that only another output depends on."""

    classes = ("a", "b")
    outputs = ("logits", "mask")

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return _Aside().double()


class _Aside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.side = nn.Conv2d(4, 1, 1)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.first(images).relu()
        return {"mask": self.side(features), "logits": self.last(features).mean((2, 3))}


def new_batch(model=None, count=5, **changes):
    model = model or in_float64(Residual())
    samples = Residual().samples(count)
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).double()
    settings = {"targets": [index % len(model.classes) for index in range(count)], "layers": model.layers()}
    return Batch(model, [sample.id for sample in samples], images, **settings | changes)


def test_the_gradients_of_the_image_and_all_layers_take_one_forward_and_one_backward(passed):
    batch = new_batch()
    counts = passed(batch)
    for _ in range(3):
        assert set(passes.gradients(batch).layers) == {"stem", "block", "last"}
    assert counts == {"forward": 1, "backward": 1}


def test_pieces_take_one_forward_and_one_backward_each(passed):
    batch = new_batch(rows=2)
    counts = passed(batch)
    passes.gradients(batch)
    assert counts == {"forward": 3, "backward": 3}


def test_logits_take_one_forward_and_no_backward(passed):
    batch = new_batch()
    counts = passed(batch)
    passes.logits(batch)
    passes.logits(batch)
    assert counts == {"forward": 1}


def test_logits_are_the_networks_own():
    batch = new_batch(rows=2)
    torch.testing.assert_close(passes.logits(batch), batch.model.network(batch.images).detach(), rtol=1e-12, atol=1e-12)
    assert not passes.logits(batch).requires_grad


def test_other_outputs_come_from_the_pass_of_the_logits(passed):
    batch = new_batch(Aside(), rows=2)
    counts = passed(batch)
    logits = passes.logits(batch)
    masks = passes.outputs(batch.at(targets=[1] * 5))["mask"]
    assert counts == {"forward": 3}
    expected = batch.model.forward(batch.images)
    torch.testing.assert_close(logits, expected["logits"].detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(masks, expected["mask"].detach(), rtol=1e-12, atol=1e-12)
    assert not masks.requires_grad
    assert passes.outputs(new_batch(Aside(), differentiable=True))["mask"].requires_grad


def test_an_output_without_a_row_per_image_is_left_out():
    class Scaled(Aside):
        outputs = ("logits", "scale", "absent")

        def build(self):
            return _Scaled()

    assert set(passes.outputs(new_batch(Scaled(), rows=2))) == {"logits"}


class _Scaled(nn.Module):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": images.mean((2, 3))[:, :2], "scale": images.max()}


def test_gradients_of_images_are_those_of_the_network_itself():
    batch = new_batch()
    images = batch.images.clone().requires_grad_()
    score = batch.model.network(images).gather(1, batch.targets[:, None]).sum()
    (expected,) = torch.autograd.grad(score, images)
    torch.testing.assert_close(passes.gradients(batch).images, expected, rtol=1e-12, atol=1e-14)


def test_gradients_agree_with_finite_differences():
    batch = new_batch(count=1)
    direction = torch.randn(batch.images.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-6
    ahead, behind = (batch.score(batch.images + sign * step * direction) for sign in (1, -1))
    slope = float((passes.gradients(batch).images * direction).sum())
    assert float(ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-6)


def test_a_layer_means_its_tensor_after_norm_and_activation():
    batch = new_batch()
    network = batch.model.network
    outputs = {}
    network.eval()

    def run(images):
        stem = torch.relu(network.stem_norm(network.stem(images)))
        outputs["stem"] = stem
        outputs["block"] = network.block_norm(network.block(stem))
        value = torch.relu(outputs["block"] + stem)
        outputs["last"] = torch.relu(network.last_norm(network.last(value)))
        return network.head(outputs["last"].mean((2, 3)))

    score = run(batch.images).gather(1, batch.targets[:, None]).sum()
    expected = torch.autograd.grad(score, list(outputs.values()))
    for (name, activation), gradient in zip(outputs.items(), expected):
        result = passes.gradients(batch).layers[name]
        torch.testing.assert_close(result.activation, activation.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(result.gradient, gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_any_number_of_rows_gives_the_same_gradients(rows):
    whole = passes.gradients(new_batch())
    parts = passes.gradients(new_batch(rows=rows))
    torch.testing.assert_close(parts.images, whole.images, rtol=1e-10, atol=1e-12)
    for name, layer in whole.layers.items():
        torch.testing.assert_close(parts.layers[name].activation, layer.activation, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(parts.layers[name].gradient, layer.gradient, rtol=1e-10, atol=1e-12)


def test_gradients_leave_images_and_parameters_alone():
    batch = new_batch()
    passes.gradients(batch)
    assert not batch.images.requires_grad
    assert batch.images.grad is None
    assert all(parameter.grad is None for parameter in batch.model.network.parameters())


def test_results_are_detached_where_no_training_loss_needs_them():
    result = passes.gradients(new_batch())
    assert not result.images.requires_grad
    assert not any(layer.activation.requires_grad or layer.gradient.requires_grad for layer in result.layers.values())


def test_a_training_loss_reaches_the_trained_parameters():
    batch = new_batch(differentiable=True)
    loss = passes.gradients(batch).images.square().sum()
    (result,) = torch.autograd.grad(loss, batch.model.network.stem.weight)
    assert float(result.abs().max()) > 0


def test_a_layer_that_serves_another_output_has_no_gradient():
    batch = new_batch(model=Aside(), layers=["first", "side", "last"])
    layers = passes.gradients(batch).layers
    assert set(layers) == {"first", "side", "last"}
    assert float(layers["side"].gradient.abs().max()) == 0
    assert float(layers["first"].gradient.abs().max()) > 0


def test_logits_stay_where_only_the_targets_change(passed):
    batch = new_batch()
    counts = passed(batch)
    passes.logits(batch)
    passes.logits(batch.at(targets=[0] * len(batch)))
    assert counts == {"forward": 1}
    passes.logits(batch.at(batch.images + 1))
    assert counts == {"forward": 2}


def test_released_layers_are_freed_and_the_gradient_of_the_images_stays(passed):
    batch = new_batch()
    counts = passed(batch)
    passes.release_layers(batch)
    assert not counts
    result = passes.gradients(batch)
    outputs = weakref.ref(result.layers["stem"].gradient)
    images = result.images
    del result
    passes.release_layers(batch)
    assert outputs() is None
    assert passes.gradients(batch).images is images
    assert counts == {"forward": 1, "backward": 1}


@pytest.mark.parametrize("rows", [2, None])
def test_activations_of_all_layers_are_those_of_the_gradient_pass_from_a_forward_alone(passed, rows):
    batch = new_batch(rows=rows)
    counts = passed(batch)
    values = [passes.activations(batch) for _ in range(2)][1]
    assert counts == {"forward": 3 if rows else 1}
    for name, layer in passes.gradients(batch).layers.items():
        torch.testing.assert_close(values[name], layer.activation, rtol=1e-12, atol=1e-14)
        assert not values[name].requires_grad
    assert set(values) == {"stem", "block", "last"}
