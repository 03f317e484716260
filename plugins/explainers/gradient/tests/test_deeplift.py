"""Checks DeepLIFT against closed forms, plain matrices, captum where captum is right, and the sum of its maps."""

import copy

import numpy as np
import pytest
import torch
from captum.attr import DeepLift as CaptumDeepLift
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.network.canonical import canonical
from heatproof.network.views import view
from heatproof.testing import conforms, toys
from heatproof.testing.bench import in_float64
from heatproof_gradient.deeplift import DeepLift


class Overlapping(nn.Module):
    """A max pool with overlapping windows, and a tensor that two layers read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.second = nn.Conv2d(6, 5, 3, padding=1)
        self.relu = nn.ReLU()
        self.later = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2)
        self.head = nn.Linear(11, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = self.first(images)
        values = torch.cat([self.relu(values), self.later(self.second(values))], 1)
        return self.head(self.pool(values).mean((2, 3)))


class Gated(nn.Module):
    """A product of features and their gate, for which the rescale rule is not defined."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        values = self.first(images)
        return self.head((values * torch.sigmoid(values)).mean((2, 3)))


class Untraceable(nn.Module):
    """Control flow that depends on values, which cannot be traced."""

    def forward(self, images: Tensor) -> Tensor:
        scores = images.flatten(1)[:, :2]
        if images.sum() > 0:
            return scores * 2
        return scores


def seeded(build, *arguments) -> nn.Module:
    torch.manual_seed(0)
    return build(*arguments).double().eval()


def random_images(count: int = 3, size: int = 12) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def calibrated(network: nn.Module, size: int) -> nn.Module:
    """The network with statistics of random images, in evaluation mode and float64."""
    return toys.calibrated(network, random_images(4, size))


def explained(network: nn.Module, images: Tensor, baseline: float = 0.0, rows: int | None = None, classes: int = 3):
    targets = [index % classes for index in range(len(images))]
    batch = Batch(
        Model.of(network, map(str, range(classes))),
        [str(index) for index in range(len(images))],
        images,
        targets,
        rows=rows,
    )
    return DeepLift(baseline=baseline)(batch)


def score_gain(network: nn.Module, images: Tensor, baseline: float = 0.0) -> Tensor:
    """The score of each image's target minus that of the reference."""
    with torch.no_grad():
        difference = network(images) - network(torch.full_like(images, baseline))
    return difference[torch.arange(len(images)), torch.arange(len(images)) % difference.shape[1]]


@conforms(DeepLift(), DeepLift(baseline=-0.3))
def test_conformance(check):
    check()


def test_a_single_relu_has_its_closed_form():
    """The map of y = ReLU(x1 - x2) at (3, 1) with reference 0 is (3, -1), which sums to y."""
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, -1.0]])
    network = nn.Sequential(nn.Flatten(), layer, nn.ReLU()).double()
    images = torch.tensor([3.0, 1.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    explanation = explained(network, images, classes=1)
    assert explanation.values.flatten().tolist() == pytest.approx([3, -1], rel=1e-14)
    assert explanation.notes["completeness_gap"] == pytest.approx([0], abs=1e-14)


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_plain_matrices_give_the_same_multipliers(baseline):
    """The product W1ᵀ diag(q1) W2ᵀ diag(q2) w3, with quotients of differences q, computed layer by layer."""
    network = seeded(
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(27, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 3), nn.Softplus()
        )
    )
    images = random_images(4, 3)
    values = images.flatten(1)
    reference = torch.full((1, 27), baseline, dtype=torch.float64)
    quotients = []
    for layer in list(network)[1:]:
        output = layer(values).detach()
        reference_output = layer(reference).detach()
        if not isinstance(layer, nn.Linear):
            quotients.append((output - reference_output) / (values - reference))
        values = output
        reference = reference_output
    weights = [layer.weight.detach() for layer in network if isinstance(layer, nn.Linear)]
    upstream = functional.one_hot(torch.arange(4) % 3, 3).double() * quotients[2]
    for quotient, weight in zip([quotients[1], quotients[0], torch.ones(())], reversed(weights)):
        upstream = (upstream @ weight) * quotient
    expected = upstream.reshape(images.shape) * (images - baseline)
    torch.testing.assert_close(explained(network, images, baseline).values, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_captum_agrees_on_networks_without_max_pools(rows):
    network = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 5, 3), nn.Sigmoid(), nn.Flatten(),
            nn.Linear(45, 3),
        )
    )  # fmt: skip
    _assert_captum_agrees(network, network, random_images(4), rows)


@pytest.mark.slow
def test_captum_agrees_on_vgg16():
    torch.manual_seed(0)
    network = models.vgg16(num_classes=3)
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Linear(512, 3)
    _assert_captum_agrees(network.double().eval(), canonical(network), random_images(2, 48))


@pytest.mark.slow
def test_captum_agrees_on_canonical_resnet50():
    """On the original network captum raises an error, because one in-place ReLU serves several layers.

    BatchNorm is set such that the reference is zero at the max pool. Otherwise all its values there are equal, and
    the position that captum takes as the maximum depends on rounding.
    """
    torch.manual_seed(0)
    network = calibrated(models.resnet50(num_classes=3), 64)
    network.bn1.running_mean.zero_()
    network.bn1.bias.data.fill_(-0.2)
    with pytest.raises(RuntimeError):
        CaptumDeepLift(copy.deepcopy(network)).attribute(
            random_images(1, 64), torch.zeros_like(random_images(1, 64)), target=0
        )
    images = random_images(2, 64)
    folded = view(network, ("logits",), images, {}, folded=True).module
    _assert_captum_agrees(network, folded, images)


def _assert_captum_agrees(
    network: nn.Module, captum_network: nn.Module, images: Tensor, rows: int | None = None
) -> None:
    targets = torch.arange(len(images)) % 3
    expected, delta = CaptumDeepLift(captum_network, eps=1e-10).attribute(
        images, torch.zeros_like(images), target=targets, return_convergence_delta=True
    )
    assert float(delta.abs().max()) < 1e-6  # captum returns its delta in float32
    actual = explained(network, images, rows=rows).values
    assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-8


def test_maps_sum_to_the_difference_of_scores_with_overlapping_windows_and_shared_tensors():
    """captum overwrites the amount of a window with its neighbour's, and hooks a tensor once for all its readers."""
    network = seeded(Overlapping)
    images = random_images(3)
    explanation = explained(network, images)
    expected = score_gain(network, images)
    torch.testing.assert_close(explanation.values.flatten(1).sum(1), expected, rtol=1e-12, atol=1e-14)
    assert explanation.notes["completeness_gap"] == pytest.approx([0.0] * 3, abs=1e-13)
    captum_maps = CaptumDeepLift(network).attribute(images, torch.zeros_like(images), target=torch.arange(3))
    assert float((captum_maps.flatten(1).sum(1) / expected - 1).abs().max()) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"), [("resnet50", {}), ("inception_v3", {"aux_logits": False, "init_weights": False})]
)
def test_maps_sum_to_the_difference_of_scores_on_large_networks(name, settings):
    torch.manual_seed(0)
    network = calibrated(getattr(models, name)(num_classes=3, **settings), 80)
    images = random_images(2, 80)
    actual = explained(network, images).values.flatten(1).sum(1)
    expected = score_gain(network, images)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_captum_is_wrong_on_inceptionv3():
    """Although every activation and pool is a module: tensors have several readers, and windows overlap."""
    torch.manual_seed(0)
    network = calibrated(models.inception_v3(num_classes=3, aux_logits=False, init_weights=False), 80)
    images = random_images(3, 80)
    folded = view(network, ("logits",), images, {}, folded=True).module
    captum_maps = CaptumDeepLift(folded).attribute(images, torch.zeros_like(images), target=torch.arange(3))
    assert float((captum_maps.flatten(1).sum(1) / score_gain(network, images) - 1).abs().min()) > 0.1


def test_the_verdict_names_modules_without_a_rule():
    verdict = DeepLift().verdict(Model.of(seeded(Gated), "ab"))
    assert verdict.level == "approximate"
    assert "Multiply" in verdict.reason
    assert DeepLift().verdict(in_float64(toys.Residual())).level == "exact"
    assert DeepLift().verdict(Model.of(seeded(Overlapping), "abc")).level == "exact"


HEADS = {
    "mean": lambda x: x.flatten(1)[:, :3] - x.flatten(1).mean(1, keepdim=True),
    "mean over numpy's axes": lambda x: x.mean(axis=(2, 3), keepdims=True).flatten(1)[:, :3],
    "mean over an axis": lambda x: torch.mean(x, axis=1).flatten(1)[:, :3],
    "mean in float64": lambda x: x.mean((2, 3), dtype=torch.float64)[:, :3],
    "sum": lambda x: x.sum(axis=(2, 3))[:, :3] / 7 - 1,
    "subtraction": lambda x: (3 - x).mean((2, 3))[:, :3],
    "matrix": lambda x: x.flatten(2) @ torch.ones(36, 1, dtype=torch.float64),
    "padding": lambda x: functional.pad(x, (1, 1)).mean((2, 3)),
    "interpolation": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear").amax((2, 3)),
    "division": lambda x: (x / (1 + x.square().mean((2, 3), keepdim=True))).mean((2, 3)),
    "ratio": lambda x: (x / (2 + x.mean(1, keepdim=True))).mean((2, 3)),
    "inverse": lambda x: (1 / (2 + x)).mean((2, 3)),
    "product": lambda x: (x * x).mean((2, 3)),
    "matrix product": lambda x: x.flatten(2) @ x.flatten(2).mT,
    "normalisation": lambda x: functional.layer_norm(x, x.shape[1:]).mean((2, 3)),
    "absolute": lambda x: (x - 0.5).abs().mean((2, 3)),
    "maximum": lambda x: x.amax((2, 3)),
    "softmax": lambda x: x.softmax(1).mean((2, 3)),
    "hardshrink": lambda x: functional.hardshrink(x).mean((2, 3)),
    "detached": lambda x: x.mean((2, 3)) + x.detach().amax((2, 3)),
    "data": lambda x: (x - x.data.mean((1, 2, 3), keepdim=True)).mean((2, 3)) * 2,
    "mask as index": lambda x: x.flatten(1)[:, x.flatten(1)[0].argsort()],
    "transposed": lambda x: x.mT.flatten(1),
    "clamp": lambda x: x.clamp(0, 0.5).mean((2, 3)),
    "where": lambda x: torch.where(x > 0.2, x, 0).mean((2, 3)),
    "log-sigmoid": lambda x: functional.logsigmoid(x).mean((2, 3)),
}  # fmt: skip
LINEAR_HEADS = (
    "mean", "mean over numpy's axes", "mean over an axis", "mean in float64", "sum", "subtraction", "matrix",
    "padding", "hardshrink", "clamp", "log-sigmoid", "transposed",
)  # fmt: skip


class Headed(nn.Module):
    """A convolution, a ReLU, and a head."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return HEADS[self.head](self.first(images).relu()).flatten(1)[:, :3]


@pytest.mark.parametrize("head", HEADS)
def test_a_verdict_is_exact_only_where_maps_sum_to_the_difference_of_scores(head: str):
    """Of a head that is not linear and has no rule, the verdict is approximate and names it."""
    torch.manual_seed(0)
    model = Model.of(Headed(head).double().eval(), "abc")
    images = torch.randn(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    verdict = DeepLift().verdict(model)
    assert verdict.level == ("exact" if head in LINEAR_HEADS else "approximate")
    if verdict.level == "exact":
        gaps = [DeepLift()(Batch(model, ["a"], images, [target])).notes["completeness_gap"] for target in range(3)]
        assert gaps == [[pytest.approx(0, abs=1e-10)]] * 3


def test_a_network_that_cannot_be_traced_is_an_error():
    with pytest.raises(ModelError, match="cannot be traced"):
        explained(Untraceable(), random_images(2), classes=2)


def test_each_image_has_its_further_input():
    class Aged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(27, 3)

        def forward(self, images: Tensor, age: Tensor) -> Tensor:
            return torch.relu(self.layer(images.flatten(1)) + age[:, None])

    network = seeded(Aged)
    images = random_images(3, 3)
    age = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    batch = Batch(Model.of(network, "abc"), list("abc"), images, [0, 1, 2], inputs={"age": age})
    with torch.no_grad():
        difference = (network(images, age) - network(images * 0, age)).diagonal()
    torch.testing.assert_close(DeepLift()(batch).values.flatten(1).sum(1), difference, rtol=1e-12, atol=1e-14)


def test_a_max_pool_gives_differences_to_the_positions_of_both_maxima():
    """Compared with a loop over windows, in some of which the image has the larger maximum, in others the reference."""
    layer = nn.Linear(27, 16)
    head = nn.Linear(9, 1)
    parts = [nn.Flatten(), layer, nn.Unflatten(1, (1, 4, 4)), nn.MaxPool2d(2, 1), nn.Flatten(), head]
    network = seeded(lambda: nn.Sequential(*parts))
    layer.bias.data.mul_(20)  # makes the reference's maximum the larger one in some windows
    images = random_images(1, 3)
    values = layer(images.flatten(1)).detach().reshape(4, 4)
    reference = layer(torch.zeros(1, 27).double()).detach().reshape(4, 4)
    contributions = torch.zeros(4, 4, dtype=torch.float64)
    is_larger = set()
    for (row, column), weight in zip(np.ndindex(3, 3), head.weight.detach()[0]):
        window = (slice(row, row + 2), slice(column, column + 2))
        maximum = values[window].max()
        reference_maximum = reference[window].max()
        larger = max(maximum, reference_maximum)
        is_larger.add(bool(maximum >= reference_maximum))
        contributions[window][values[window] == maximum] += weight * (larger - reference_maximum)
        contributions[window][reference[window] == reference_maximum] += weight * (maximum - larger)
    assert is_larger == {True, False}
    multipliers = (contributions / (values - reference)).reshape(1, 16) @ layer.weight.detach()
    expected = multipliers.reshape(images.shape) * images
    torch.testing.assert_close(explained(network, images, classes=1).values, expected, rtol=1e-10, atol=1e-13)
