"""Guided backpropagation and DeconvNet against vectors, explicit backward passes, captum and finite differences."""

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
    """The residual toy with ReLU as a function, which no hook on a module sees."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = functional.relu(self.norm(self.first(images)))
        return self.head(functional.relu(self.last(functional.max_pool2d(values, 2))).mean((2, 3)))


def images(count: int = 3, size: int = 16, channels: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, size, size, dtype=torch.float64, generator=draw)


def calibrated(network: nn.Module, size: int) -> nn.Module:
    """The network with statistics of random images, in evaluation mode and float64."""
    network = network.double().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(images(4, size))
    return network.eval()


def small(activation: type[nn.Module], seed: int = 0) -> nn.Module:
    """Two convolutions, BatchNorm, pooling and one kind of activation."""
    network = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), activation(), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, padding=1), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip
    return toys.drawn(network, seed).double().eval()


def batch(network: nn.Module, made: Tensor, **changes: object) -> Batch:
    targets = [index % 3 for index in range(len(made))]
    return Batch(Model.of(network, "abc"), [str(index) for index in range(len(made))], made, targets, **changes)


def gap(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def cosine(one: Tensor, other: Tensor) -> float:
    return float(functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def captums(reference: type, network: nn.Module, made: Tensor, targets: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces that it sets hooks
        return reference(network).attribute(made.clone().requires_grad_(), target=targets).detach()


@conforms(GuidedBackprop(), DeconvNet(), GuidedBackprop(act_policy="relu_only"))
def test_conformance(check):
    check()


@pytest.mark.parametrize(("explainer", "expected"), [(GuidedBackprop(), [3, 0, 0, 0]), (DeconvNet(), [3, 4, 0, 0])])
def test_the_vector_v_relu(explainer, expected):
    weights = nn.Linear(4, 1, bias=False)
    weights.weight.data = torch.tensor([[3.0, 4.0, -5.0, -6.0]])
    network = nn.Sequential(nn.ReLU(), nn.Flatten(), weights).double()
    made = torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=torch.float64).reshape(1, 1, 2, 2)
    found = Batch(Model.of(network, "a"), ["a"], made, [0])
    assert explainer(found).values.flatten().tolist() == expected
    assert gradients(found).images.flatten().tolist() == [3, 0, -5, 0]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.GELU, nn.ELU, nn.LeakyReLU, nn.Tanh, nn.PReLU])
@pytest.mark.parametrize("explainer", [GuidedBackprop(), DeconvNet()], ids=NAMES)
def test_an_explicit_backward_pass_agrees(explainer, activation):
    network, made = small(activation), images()
    convolved, normed, first, pooled, second, last, _, _, head = network
    before = normed(convolved(made)).detach().requires_grad_()
    middle = first(before)
    behind = second(pooled(middle)).detach().requires_grad_()
    top = last(behind)
    upstream = head.weight[[0, 1, 2], :, None, None].expand_as(top) / top[0, 0].numel()
    upstream = _ruled(explainer, top, behind, upstream)
    again = middle.detach().requires_grad_()
    (upstream,) = torch.autograd.grad(second(pooled(again)), again, upstream)
    upstream = _ruled(explainer, middle, before, upstream)
    leaf = made.clone().requires_grad_()
    (expected,) = torch.autograd.grad(normed(convolved(leaf)), leaf, upstream)
    assert gap(explainer(batch(network, made)).values, expected) <= 1e-12


def _ruled(explainer: object, activated: Tensor, values: Tensor, upstream: Tensor) -> Tensor:
    """The formulas of the papers, with the derivative from autograd."""
    (derivative,) = torch.autograd.grad(activated.sum(), values, retain_graph=True)
    positive = torch.where(upstream > 0, upstream, 0.0)
    if isinstance(explainer, DeconvNet):
        return positive
    return torch.where(values > 0, derivative * positive, 0.0).detach()


@pytest.mark.parametrize(("explainer", "reference"), REFERENCES, ids=NAMES)
@pytest.mark.parametrize(
    "build", [lambda: toys.drawn(toys.Residual().build(), 0), Functional, lambda: models.resnet18(num_classes=3)],
    ids=["residual", "functional", "resnet18"],
)  # fmt: skip
def test_captum_agrees_on_the_canonical_network(build, explainer, reference):
    torch.manual_seed(0)
    network, made = calibrated(build(), 32), images(3, 32)
    made_batch = batch(network, made)
    expected = captums(reference, canonical(network), made, made_batch.targets)
    assert gap(explainer(made_batch).values, expected) <= 1e-8


@pytest.mark.slow
@pytest.mark.parametrize(("explainer", "reference"), REFERENCES, ids=NAMES)
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "inception_v3"])
def test_captum_agrees_on_the_three_networks(name, explainer, reference):
    network, made = large(name), images(2, 96)
    made_batch = batch(network, made)
    expected = captums(reference, canonical(network), made, made_batch.targets)
    assert gap(explainer(made_batch).values, expected) <= 1e-8


def large(name: str) -> nn.Module:
    """A network of Van Craenendonck et al. 2020 with random weights and few classes."""
    torch.manual_seed(0)
    if name == "vgg16":
        network = models.vgg16(num_classes=3)
        network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 3)
    elif name == "resnet50":
        network = models.resnet50(num_classes=3)
    else:
        network = models.inception_v3(num_classes=3, aux_logits=False, init_weights=False)
    return calibrated(network, 96)


def test_captum_on_functional_relu_gives_the_plain_gradient():
    """Why captum on the user's own network is no reference: it hooks modules, and here is none."""
    torch.manual_seed(0)
    network, made = calibrated(Functional(), 16), images()
    made_batch = batch(network, made)
    wrong = captums(CaptumGuidedBackprop, network, made, made_batch.targets)
    assert gap(wrong, gradients(made_batch).images) <= 1e-10
    assert cosine(wrong, GuidedBackprop()(made_batch).values) < 0.9


@pytest.mark.slow
def test_captum_on_torchvisions_inception_gives_the_plain_gradient():
    """Its ReLUs are functions: the guided map it gives has nothing to do with the true one."""
    network, made = large("inception_v3"), images(2, 96)
    made_batch = batch(network, made)
    wrong = captums(CaptumGuidedBackprop, network, made, made_batch.targets)
    assert gap(wrong, gradients(made_batch).images) <= 1e-8
    assert abs(cosine(wrong, GuidedBackprop()(made_batch).values)) < 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU])
@pytest.mark.parametrize("explainer", [GuidedBackprop(), DeconvNet()], ids=NAMES)
def test_the_second_derivative_agrees_with_finite_differences(explainer, activation, seed):
    """For a loss of the map and of the logits, by the weights of the first convolution."""
    network, made = small(activation, seed), images(2, 8)
    weight = network[0].weight

    def loss() -> Tensor:
        made_batch = batch(network, made, differentiable=True)
        fit = functional.cross_entropy(made_batch.forward()[0], made_batch.targets)
        return explainer(made_batch).values.square().sum() + fit

    (found,) = torch.autograd.grad(loss(), weight)
    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    sides, step = [], 1e-6
    for move in (step, -2 * step):
        with torch.no_grad():
            weight.add_(move * direction)
        sides.append(float(loss().detach()))
    slope = (sides[0] - sides[1]) / (2 * step)
    assert float((found * direction).sum()) == pytest.approx(slope, rel=1e-5)
    assert float(found.abs().max()) > 0


def test_without_max_pooling_deconvnet_does_not_depend_on_the_image():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 3),
    )  # fmt: skip
    network = toys.drawn(network, 0).double()
    maps = [DeconvNet()(batch(network, made)).values for made in (images(), images().flip(0) ** 2)]
    assert torch.equal(*maps)
    guided = [GuidedBackprop()(batch(network, made)).values for made in (images(), images().flip(0) ** 2)]
    assert not torch.equal(*guided)


def test_where_nothing_is_negative_all_three_agree():
    network, made = small(nn.ReLU), images().abs()
    network[1].running_mean.zero_()
    for value in network.parameters():
        value.data = value.data.abs()
    made_batch = batch(network, made)
    plain = gradients(made_batch).images
    assert gap(GuidedBackprop()(made_batch).values, plain) <= 1e-12
    assert gap(DeconvNet()(made_batch).values, plain) <= 1e-12


@pytest.mark.parametrize(
    ("activation", "policy", "level", "reason"),
    [
        (nn.ReLU, "all", "exact", ""),
        (nn.ReLU, "relu_only", "exact", ""),
        (nn.SiLU, "all", "approximate", "SiLU of Sequential the rule is a definition"),
        (nn.SiLU, "relu_only", "undefined", "its activations are SiLU; act_policy: all"),
        (nn.Identity, "all", "undefined", "it has no activation"),
    ],
)
@pytest.mark.parametrize("kind", [GuidedBackprop, DeconvNet], ids=NAMES)
def test_the_verdict_follows_from_the_activations(kind, activation, policy, level, reason):
    verdict = kind(act_policy=policy).verdict(Model.of(small(activation), "abc"))
    assert verdict.level == level
    assert reason in verdict.reason
    assert bool(verdict.reason) == (level != "exact")


def test_mixed_activations_are_approximate_and_the_policy_decides():
    network = small(nn.ReLU)
    network[5] = nn.SiLU()
    both, relus = (batch(network, images()) for _ in range(2))
    assert GuidedBackprop(act_policy="relu_only").verdict(relus.model).level == "approximate"
    maps = [GuidedBackprop(act_policy=policy)(both).values for policy in ("all", "relu_only")]
    assert not torch.equal(*maps)


class Branching(nn.Module):
    """Control flow on values, which cannot be traced."""

    def forward(self, made: Tensor) -> Tensor:
        return made.relu().mean((2, 3)) if made.sum() > 0 else made.mean((2, 3))


def test_a_network_that_cannot_be_traced_is_undefined():
    verdict = GuidedBackprop().verdict(Model.of(Branching(), "abc"))
    assert verdict.level == "undefined"
    assert "cannot be traced" in verdict.reason
    with pytest.raises(ModelError, match="cannot be traced"):
        rectified(batch(Branching(), images()), "guided")


class Aside(nn.Module):
    """A ReLU that serves another output only."""

    def forward(self, made: Tensor) -> dict[str, Tensor]:
        return {"logits": made.mean((2, 3)), "mask": made.relu()}


def test_an_error_where_nothing_on_the_way_is_rectified():
    model = Model.of(Aside(), "abc", outputs=("logits", "mask"))
    with pytest.raises(ModelError, match="no activation of Aside lies between the image and the output 'logits'"):
        GuidedBackprop()(Batch(model, ["a"], images(1), [0]))


def test_float32_stays_float32_on_a_network_with_silu():
    made_batch = batch(small(nn.SiLU), images().float())
    assert GuidedBackprop()(made_batch).values.dtype == torch.float32


def test_the_model_and_other_passes_are_left_alone():
    model = in_float64(toys.Residual())
    made = Batch(model, list("abc"), images(), [0, 1, 2])
    before = gradients(made).images.clone()
    GuidedBackprop()(made)
    DeconvNet()(made)
    assert torch.equal(gradients(Batch(model, list("abc"), images(), [0, 1, 2])).images, before)
