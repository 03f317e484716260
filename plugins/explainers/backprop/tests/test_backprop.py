"""Checks guided backpropagation and DeconvNet against explicit backward passes, captum and finite differences."""

import warnings

import pytest
import torch
from captum.attr import Deconvolution
from captum.attr import GuidedBackprop as CaptumGuidedBackprop
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.network.canonical import canonical
from heatproof.passes import gradients
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_backprop.deconvnet import DeconvNet
from heatproof_backprop.guided_backprop import GuidedBackprop
from heatproof_shared_passes.rectified import rectified

REFERENCES = [(GuidedBackprop(), CaptumGuidedBackprop), (DeconvNet(), Deconvolution)]
NAMES = ["guided_backprop", "deconvnet"]


class Functional(nn.Module):
    """A network with ReLU as a function, which hooks on modules do not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.last = nn.Conv2d(6, 8, 3)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = functional.relu(self.norm(self.first(images)))
        return self.head(functional.relu(self.last(functional.max_pool2d(values, 2))).mean((2, 3)))


def random_images(count: int = 3, size: int = 16, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, size, size, dtype=torch.float64, generator=generator)


def calibrated(network: nn.Module, size: int) -> nn.Module:
    """The network with statistics of random images, in evaluation mode and float64."""
    return toys.calibrated(network, random_images(4, size))


def small(activation: type[nn.Module], seed: int = 0) -> nn.Module:
    """Two convolutions, BatchNorm, pooling and one kind of activation."""
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), activation(), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, padding=1), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip
    return toys.drawn(network, seed).double().eval()


def batch_of(network: nn.Module, images: Tensor, **changes: object) -> Batch:
    targets = [index % 3 for index in range(len(images))]
    return Batch(Model.of(network, "abc"), [str(index) for index in range(len(images))], images, targets, **changes)


def gap(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


def cosine(first: Tensor, second: Tensor) -> float:
    return float(functional.cosine_similarity(first.flatten(), second.flatten(), dim=0))


def captum_map(reference: type, network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum warns that it sets hooks
        return reference(network).attribute(images.clone().requires_grad_(), target=targets).detach()


@conforms(GuidedBackprop(), DeconvNet(), GuidedBackprop(act_policy="relu_only"))
def test_conformance(check):
    check()


@pytest.mark.parametrize(("explainer", "expected"), [(GuidedBackprop(), [3, 0, 0, 0]), (DeconvNet(), [3, 4, 0, 0])])
def test_a_single_relu_has_its_closed_form(explainer, expected):
    weights = nn.Linear(4, 1, bias=False)
    weights.weight.data = torch.tensor([[3.0, 4.0, -5.0, -6.0]])
    network = nn.Sequential(nn.ReLU(), nn.Flatten(), weights).double()
    images = torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=torch.float64).reshape(1, 1, 2, 2)
    batch = Batch(Model.of(network, "a"), ["a"], images, [0])
    assert explainer(batch).values.flatten().tolist() == expected
    assert gradients(batch).images.flatten().tolist() == [3, 0, -5, 0]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.GELU, nn.ELU, nn.LeakyReLU, nn.Tanh, nn.PReLU])
@pytest.mark.parametrize("explainer", [GuidedBackprop(), DeconvNet()], ids=NAMES)
def test_an_explicit_backward_pass_agrees(explainer, activation):
    network = small(activation)
    images = random_images()
    convolution, norm, activation_module, pool, second_convolution, second_activation, _, _, head = network
    values = norm(convolution(images)).detach().requires_grad_()
    activated = activation_module(values)
    second_values = second_convolution(pool(activated)).detach().requires_grad_()
    second_activated = second_activation(second_values)
    upstream = head.weight[[0, 1, 2], :, None, None].expand_as(second_activated) / second_activated[0, 0].numel()
    upstream = _rectify(explainer, second_activated, second_values, upstream)
    leaf = activated.detach().requires_grad_()
    (upstream,) = torch.autograd.grad(second_convolution(pool(leaf)), leaf, upstream)
    upstream = _rectify(explainer, activated, values, upstream)
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(norm(convolution(leaf)), leaf, upstream)
    assert gap(explainer(batch_of(network, images)).values, expected) <= 1e-12


def _rectify(explainer: object, activated: Tensor, values: Tensor, upstream: Tensor) -> Tensor:
    """The gradient behind an activation by the formula of the paper, with the derivative from autograd."""
    (derivative,) = torch.autograd.grad(activated.sum(), values, retain_graph=True)
    positive = torch.where(upstream > 0, upstream, 0.0)
    if isinstance(explainer, DeconvNet):
        return positive
    return torch.where(values > 0, derivative * positive, 0.0).detach()


@pytest.mark.slow
@pytest.mark.parametrize(("explainer", "reference"), REFERENCES, ids=NAMES)
@pytest.mark.parametrize(
    "build", [lambda: toys.drawn(toys.Residual().build(), 0), Functional, lambda: models.resnet18(num_classes=3)],
    ids=["residual", "functional", "resnet18"],
)  # fmt: skip
def test_captum_agrees_on_the_canonical_network(build, explainer, reference):
    torch.manual_seed(0)
    network = calibrated(build(), 32)
    images = random_images(3, 32)
    batch = batch_of(network, images)
    expected = captum_map(reference, canonical(network), images, batch.targets)
    assert gap(explainer(batch).values, expected) <= 1e-8


@pytest.mark.slow
@pytest.mark.parametrize(("explainer", "reference"), REFERENCES, ids=NAMES)
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3"])
def test_captum_agrees_on_the_three_networks(name, explainer, reference):
    network = large(name)
    images = random_images(2, 96)
    batch = batch_of(network, images)
    expected = captum_map(reference, canonical(network), images, batch.targets)
    assert gap(explainer(batch).values, expected) <= 1e-8


def large(name: str) -> nn.Module:
    """A network of Van Craenendonck et al. 2020 with random weights and few classes."""
    torch.manual_seed(0)
    if name == "vgg16":
        network = models.vgg16(num_classes=3)
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        network.classifier = nn.Linear(512, 3)
    elif name == "resnet50":
        network = models.resnet50(num_classes=3)
    else:
        network = models.inception_v3(num_classes=3, aux_logits=False, init_weights=False)
    return calibrated(network, 96)


def test_captum_on_functional_relu_gives_the_plain_gradient():
    """The reason to compare with captum on the canonical network only: captum hooks modules, and this ReLU is none."""
    torch.manual_seed(0)
    network = calibrated(Functional(), 16)
    images = random_images()
    batch = batch_of(network, images)
    wrong = captum_map(CaptumGuidedBackprop, network, images, batch.targets)
    assert gap(wrong, gradients(batch).images) <= 1e-10
    assert cosine(wrong, GuidedBackprop()(batch).values) < 0.9


@pytest.mark.slow
def test_captum_on_torchvisions_inception_gives_the_plain_gradient():
    """Its ReLUs are functions: the guided map of captum has nothing in common with the right one."""
    network = large("inception_v3")
    images = random_images(2, 96)
    batch = batch_of(network, images)
    wrong = captum_map(CaptumGuidedBackprop, network, images, batch.targets)
    assert gap(wrong, gradients(batch).images) <= 1e-8
    assert abs(cosine(wrong, GuidedBackprop()(batch).values)) < 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU])
@pytest.mark.parametrize("explainer", [GuidedBackprop(), DeconvNet()], ids=NAMES)
def test_the_second_derivative_agrees_with_finite_differences(explainer, activation, seed):
    """Of a loss of the map and of the logits, with respect to the weights of the first convolution."""
    network = small(activation, seed)
    images = random_images(2, 8)
    weight = network[0].weight

    def loss() -> Tensor:
        batch = batch_of(network, images, differentiable=True)
        fit = functional.cross_entropy(batch.forward()[0], batch.targets)
        return explainer(batch).values.square().sum() + fit

    (actual,) = torch.autograd.grad(loss(), weight)
    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    losses = []
    step = 1e-6
    for move in (step, -2 * step):
        with torch.no_grad():
            weight.add_(move * direction)
        losses.append(float(loss().detach()))
    slope = (losses[0] - losses[1]) / (2 * step)
    assert float((actual * direction).sum()) == pytest.approx(slope, rel=1e-5)
    assert float(actual.abs().max()) > 0


def test_without_max_pooling_deconvnet_does_not_depend_on_the_image():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 3),
    )  # fmt: skip
    network = toys.drawn(network, 0).double()
    maps = [DeconvNet()(batch_of(network, images)).values for images in (random_images(), random_images().flip(0) ** 2)]
    assert torch.equal(*maps)
    guided = [
        GuidedBackprop()(batch_of(network, images)).values for images in (random_images(), random_images().flip(0) ** 2)
    ]
    assert not torch.equal(*guided)


def test_without_negative_values_both_equal_the_gradient():
    network = small(nn.ReLU)
    images = random_images().abs()
    network[1].running_mean.zero_()
    for value in network.parameters():
        value.data = value.data.abs()
    batch = batch_of(network, images)
    plain = gradients(batch).images
    assert gap(GuidedBackprop()(batch).values, plain) <= 1e-12
    assert gap(DeconvNet()(batch).values, plain) <= 1e-12


@pytest.mark.parametrize(
    ("activation", "policy", "level", "reason"),
    [
        (nn.ReLU, "all", "exact", ""),
        (nn.ReLU, "relu_only", "exact", ""),
        (nn.SiLU, "all", "approximate", "the rule is published for ReLU; Sequential has SiLU"),
        (nn.SiLU, "relu_only", "undefined", "its activations are SiLU; act_policy: all"),
        (nn.Identity, "all", "undefined", "no activation lies between the image and the output"),
    ],
)
@pytest.mark.parametrize("kind", [GuidedBackprop, DeconvNet], ids=NAMES)
def test_the_verdict_depends_on_the_activations(kind, activation, policy, level, reason):
    verdict = kind(act_policy=policy).verdict(Model.of(small(activation), "abc"))
    assert verdict.level == level
    assert reason in verdict.reason
    assert bool(verdict.reason) == (level != "exact")


def test_mixed_activations_are_approximate_and_the_policy_changes_the_map():
    network = small(nn.ReLU)
    network[5] = nn.SiLU()
    batch = batch_of(network, random_images())
    assert GuidedBackprop(act_policy="relu_only").verdict(batch.model).level == "approximate"
    maps = [GuidedBackprop(act_policy=policy)(batch).values for policy in ("all", "relu_only")]
    assert not torch.equal(*maps)


class Branching(nn.Module):
    """Control flow on values, which cannot be traced."""

    def forward(self, images: Tensor) -> Tensor:
        if images.isfinite().all():
            return images.relu().mean((2, 3))
        return images.mean((2, 3))


def test_a_network_that_cannot_be_traced_is_undefined():
    verdict = GuidedBackprop().verdict(Model.of(Branching(), "abc"))
    assert verdict.level == "undefined"
    assert "cannot be traced" in verdict.reason
    with pytest.raises(ModelError, match="cannot be traced"):
        rectified(batch_of(Branching(), random_images()), "guided")


class ReluBesideLogits(nn.Module):
    """A ReLU on the way to the mask only."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": images.mean((2, 3)), "mask": images.relu()}


def test_an_output_without_rectified_activations_is_an_error():
    model = Model.of(ReluBesideLogits(), "abc", outputs=("logits", "mask"))
    with pytest.raises(
        ModelError,
        match="in ReluBesideLogits can be rectified: no activation lies between the image and the output 'logits'",
    ):
        GuidedBackprop()(Batch(model, ["a"], random_images(1), [0]))


class LogitsBehindMask(nn.Module):
    """The mask comes first among the outputs; only the way to the logits has an activation."""

    def __init__(self, activation: type[nn.Module]):
        super().__init__()
        self.activation = activation()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images * 2, self.activation(images).mean((2, 3))


@pytest.mark.parametrize(("activation", "level"), [(nn.ReLU, "exact"), (nn.SiLU, "approximate")])
def test_the_verdict_is_of_the_way_to_the_logits_wherever_they_stand_among_the_outputs(activation, level):
    model = Model.of(LogitsBehindMask(activation), "abc", outputs=("mask", "logits"))
    assert GuidedBackprop().verdict(model).level == level


def test_float32_stays_float32_on_a_network_with_silu():
    batch = batch_of(small(nn.SiLU), random_images().float())
    assert GuidedBackprop()(batch).values.dtype == torch.float32


def test_the_model_and_other_passes_are_unchanged():
    model = in_float64(toys.Residual())
    batch = Batch(model, list("abc"), random_images(), [0, 1, 2])
    before = gradients(batch).images.clone()
    GuidedBackprop()(batch)
    DeconvNet()(batch)
    assert torch.equal(gradients(Batch(model, list("abc"), random_images(), [0, 1, 2])).images, before)
