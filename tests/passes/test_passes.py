"""Shared passes: the right values, one forward and one backward for everybody, in pieces of any size."""

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
    """A network of which one convolution serves another output only."""

    classes = ("a", "b")
    outputs = ("logits", "mask")

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return _Aside().double()


class _Aside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.side, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1), nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.first(images).relu()
        return {"mask": self.side(features), "logits": self.last(features).mean((2, 3))}


def batch(model=None, count=5, **changes):
    model = model or in_float64(Residual())
    samples = Residual().samples(count)
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples]).double()
    settings = {"targets": [index % len(model.classes) for index in range(count)], "layers": model.layers()}
    return Batch(model, [sample.id for sample in samples], images, **settings | changes)


def test_the_gradients_of_the_image_and_all_layers_take_one_forward_and_one_backward(passed):
    made = batch()
    counts = passed(made)
    for _ in range(3):
        assert set(passes.gradients(made).layers) == {"stem", "block", "last"}
    assert counts == {"forward": 1, "backward": 1}


def test_pieces_take_one_forward_and_one_backward_each(passed):
    made = batch(rows=2)
    counts = passed(made)
    passes.gradients(made)
    assert counts == {"forward": 3, "backward": 3}


def test_logits_take_one_forward_and_no_backward(passed):
    made = batch()
    counts = passed(made)
    passes.logits(made)
    passes.logits(made)
    assert counts == {"forward": 1}


def test_logits_are_the_networks_own():
    made = batch(rows=2)
    torch.testing.assert_close(passes.logits(made), made.model.network(made.images).detach(), rtol=1e-12, atol=1e-12)
    assert not passes.logits(made).requires_grad


def test_gradients_of_images_are_those_of_the_network_itself():
    made = batch()
    images = made.images.clone().requires_grad_()
    chosen = made.model.network(images).gather(1, made.targets[:, None]).sum()
    (expected,) = torch.autograd.grad(chosen, images)
    torch.testing.assert_close(passes.gradients(made).images, expected, rtol=1e-12, atol=1e-14)


def test_gradients_agree_with_finite_differences():
    made = batch(count=1)
    direction = torch.randn(made.images.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-6
    ahead, behind = (made.score(made.images + sign * step * direction) for sign in (1, -1))
    slope = float((passes.gradients(made).images * direction).sum())
    assert float(ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-6)


def test_a_layer_means_its_tensor_after_norm_and_activation():
    made = batch()
    network, kept = made.model.network, {}
    network.eval()

    def run(images):
        stem = torch.relu(network.stem_norm(network.stem(images)))
        kept["stem"] = stem
        kept["block"] = network.block_norm(network.block(stem))
        value = torch.relu(kept["block"] + stem)
        kept["last"] = torch.relu(network.last_norm(network.last(value)))
        return network.head(kept["last"].mean((2, 3)))

    chosen = run(made.images).gather(1, made.targets[:, None]).sum()
    expected = torch.autograd.grad(chosen, list(kept.values()))
    for (name, activation), gradient in zip(kept.items(), expected):
        found = passes.gradients(made).layers[name]
        torch.testing.assert_close(found.activation, activation.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found.gradient, gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_any_number_of_rows_gives_the_same_gradients(rows):
    whole, parts = passes.gradients(batch()), passes.gradients(batch(rows=rows))
    torch.testing.assert_close(parts.images, whole.images, rtol=1e-10, atol=1e-12)
    for name, layer in whole.layers.items():
        torch.testing.assert_close(parts.layers[name].activation, layer.activation, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(parts.layers[name].gradient, layer.gradient, rtol=1e-10, atol=1e-12)


def test_gradients_leave_images_and_parameters_alone():
    made = batch()
    passes.gradients(made)
    assert not made.images.requires_grad
    assert made.images.grad is None
    assert all(parameter.grad is None for parameter in made.model.network.parameters())


def test_results_are_detached_where_no_training_loss_needs_them():
    found = passes.gradients(batch())
    assert not found.images.requires_grad
    assert not any(layer.activation.requires_grad or layer.gradient.requires_grad for layer in found.layers.values())


def test_a_training_loss_reaches_the_trained_parameters():
    made = batch(differentiable=True)
    loss = passes.gradients(made).images.square().sum()
    (found,) = torch.autograd.grad(loss, made.model.network.stem.weight)
    assert float(found.abs().max()) > 0


def test_a_layer_that_serves_another_output_has_no_gradient():
    made = batch(model=Aside())
    layers = passes.gradients(made).layers
    assert set(layers) == {"first", "side", "last"}
    assert float(layers["side"].gradient.abs().max()) == 0
    assert float(layers["first"].gradient.abs().max()) > 0


def test_logits_stay_where_only_the_targets_change(passed):
    made = batch()
    counts = passed(made)
    passes.logits(made)
    passes.logits(made.at(targets=[0] * len(made)))
    assert counts == {"forward": 1}
    passes.logits(made.at(made.images + 1))
    assert counts == {"forward": 2}


def test_released_layers_are_freed_and_the_gradient_of_the_images_stays(passed):
    made = batch()
    counts = passed(made)
    passes.release_layers(made)
    assert not counts
    found = passes.gradients(made)
    kept = weakref.ref(found.layers["stem"].gradient)
    images = found.images
    del found
    passes.release_layers(made)
    assert kept() is None
    assert passes.gradients(made).images is images
    assert counts == {"forward": 1, "backward": 1}
