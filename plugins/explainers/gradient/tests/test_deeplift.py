"""DeepLIFT against its vector, plain matrices, captum where captum is right, and the summation to the difference."""

import copy

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
    """Max pools whose windows overlap, and a tensor with two readers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 3, padding=1)
        self.relu, self.later, self.pool = nn.ReLU(), nn.ReLU(), nn.MaxPool2d(3, 2)
        self.head = nn.Linear(11, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = self.first(images)
        values = torch.cat([self.relu(values), self.later(self.second(values))], 1)
        return self.head(self.pool(values).mean((2, 3)))


class Gated(nn.Module):
    """A product of features and their gate, which the rescale rule does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        values = self.first(images)
        return self.head((values * torch.sigmoid(values)).mean((2, 3)))


class Untraceable(nn.Module):
    """A network whose way depends on the values."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2] * (2 if images.sum() > 0 else 1)


def seeded(build, *arguments) -> nn.Module:
    torch.manual_seed(0)
    return build(*arguments).double().eval()


def images(count: int = 3, size: int = 12) -> Tensor:
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def calibrated(network: nn.Module, size: int) -> nn.Module:
    """The network with statistics of random images, in evaluation mode and float64."""
    network = network.double().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(images(4, size))
    return network.eval()


def explained(network: nn.Module, made: Tensor, baseline: float = 0.0, rows: int | None = None, classes: int = 3):
    targets = [index % classes for index in range(len(made))]
    batch = Batch(
        Model.of(network, map(str, range(classes))),
        [str(index) for index in range(len(made))],
        made,
        targets,
        rows=rows,
    )
    return DeepLift(baseline=baseline)(batch)


def gained(network: nn.Module, made: Tensor, baseline: float = 0.0) -> Tensor:
    """By how much each target's score exceeds that of the reference."""
    with torch.no_grad():
        difference = network(made) - network(torch.full_like(made, baseline))
    return difference[torch.arange(len(made)), torch.arange(len(made)) % difference.shape[1]]


@conforms(DeepLift(), DeepLift(baseline=-0.3))
def test_conformance(check):
    check()


def test_the_vector_of_the_specification():
    """y = ReLU(x1 - x2) at (3, 1) against 0: (3, -1), which sums to y."""
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, -1.0]])
    network = nn.Sequential(nn.Flatten(), layer, nn.ReLU()).double()
    made = torch.tensor([3.0, 1.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    explanation = explained(network, made, classes=1)
    assert explanation.values.flatten().tolist() == pytest.approx([3, -1], rel=1e-14)
    assert explanation.notes["completeness_gap"] == pytest.approx([0], abs=1e-14)


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_plain_matrices_give_the_same_multipliers(baseline):
    """W1ᵀ diag(q1) W2ᵀ diag(q2) w3 with q the quotients of differences, written out layer by layer."""
    network = seeded(
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(27, 9), nn.ReLU(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 3), nn.Softplus()
        )
    )
    made = images(4, 3)
    values, reference, quotients = made.flatten(1), torch.full((1, 27), baseline, dtype=torch.float64), []
    for layer in list(network)[1:]:
        after, after_reference = layer(values).detach(), layer(reference).detach()
        if not isinstance(layer, nn.Linear):
            quotients.append((after - after_reference) / (values - reference))
        values, reference = after, after_reference
    weights = [layer.weight.detach() for layer in network if isinstance(layer, nn.Linear)]
    upstream = functional.one_hot(torch.arange(4) % 3, 3).double() * quotients[2]
    for quotient, weight in zip([quotients[1], quotients[0], torch.ones(())], reversed(weights)):
        upstream = (upstream @ weight) * quotient
    expected = upstream.reshape(made.shape) * (made - baseline)
    torch.testing.assert_close(explained(network, made, baseline).values, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_captum_agrees_where_nothing_is_pooled_by_its_maximum(rows):
    network = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 5, 3), nn.Sigmoid(), nn.Flatten(),
            nn.Linear(45, 3),
        )
    )  # fmt: skip
    _assert_captum_agrees(network, network, images(4), rows)


@pytest.mark.slow
def test_captum_agrees_on_vgg16():
    torch.manual_seed(0)
    network = models.vgg16(num_classes=3)
    network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 3)
    _assert_captum_agrees(network.double().eval(), canonical(network), images(2, 48))


@pytest.mark.slow
def test_captum_agrees_on_resnet50_once_it_is_canonical():
    """On the network as it is captum raises: one in-place ReLU serves several layers.

    The reference is kept silent at the pool: a constant image's maximum is everywhere, and captum's place for it
    hangs on rounding.
    """
    torch.manual_seed(0)
    network = calibrated(models.resnet50(num_classes=3), 64)
    network.bn1.running_mean.zero_()
    network.bn1.bias.data.fill_(-0.2)
    with pytest.raises(RuntimeError):
        CaptumDeepLift(copy.deepcopy(network)).attribute(images(1, 64), torch.zeros_like(images(1, 64)), target=0)
    made = images(2, 64)
    folded = view(network, ("logits",), made, {}, folded=True).module
    _assert_captum_agrees(network, folded, made)


def _assert_captum_agrees(network: nn.Module, for_captum: nn.Module, made: Tensor, rows: int | None = None) -> None:
    targets = torch.arange(len(made)) % 3
    expected, delta = CaptumDeepLift(for_captum, eps=1e-10).attribute(
        made, torch.zeros_like(made), target=targets, return_convergence_delta=True
    )
    assert float(delta.abs().max()) < 1e-6  # captum hands its delta out in float32
    found = explained(network, made, rows=rows).values
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-8


def test_values_sum_to_the_difference_where_windows_overlap_and_tensors_have_two_readers():
    """captum unpools each window's amount over its neighbour's, and hooks a tensor once for all its readers."""
    network, made = seeded(Overlapping), images(3)
    explanation = explained(network, made)
    expected = gained(network, made)
    torch.testing.assert_close(explanation.values.flatten(1).sum(1), expected, rtol=1e-12, atol=1e-14)
    assert explanation.notes["completeness_gap"] == pytest.approx([0.0] * 3, abs=1e-13)
    theirs = CaptumDeepLift(network).attribute(made, torch.zeros_like(made), target=torch.arange(3))
    assert float((theirs.flatten(1).sum(1) / expected - 1).abs().max()) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "inception_v3"])
def test_values_sum_to_the_difference_on_large_networks(name):
    torch.manual_seed(0)
    settings = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    network = calibrated(getattr(models, name)(num_classes=3, **settings), 80)
    made = images(2, 80)
    found, expected = explained(network, made).values.flatten(1).sum(1), gained(network, made)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_captum_is_wrong_on_inceptionv3():
    """Even where every activation and pool is a module: its tensors have several readers, its pools overlap."""
    torch.manual_seed(0)
    network = calibrated(models.inception_v3(num_classes=3, aux_logits=False, init_weights=False), 80)
    made = images(3, 80)
    folded = view(network, ("logits",), made, {}, folded=True).module
    theirs = CaptumDeepLift(folded).attribute(made, torch.zeros_like(made), target=torch.arange(3))
    assert float((theirs.flatten(1).sum(1) / gained(network, made) - 1).abs().min()) > 0.1


def test_the_verdict_names_what_the_rule_does_not_know():
    verdict = DeepLift().verdict(Model.of(seeded(Gated), "ab"))
    assert (verdict.level, "Multiply" in verdict.reason) == ("approximate", True)
    assert DeepLift().verdict(in_float64(toys.Residual())).level == "exact"
    assert DeepLift().verdict(Model.of(seeded(Overlapping), "abc")).level == "exact"


def test_a_network_that_cannot_be_traced_is_refused():
    with pytest.raises(ModelError, match="cannot be traced"):
        explained(Untraceable(), images(2), classes=2)


def test_a_further_input_is_that_of_its_own_image():
    class Aged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(27, 3)

        def forward(self, images: Tensor, age: Tensor) -> Tensor:
            return torch.relu(self.layer(images.flatten(1)) + age[:, None])

    network, made, age = seeded(Aged), images(3, 3), torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    batch = Batch(Model.of(network, "abc"), list("abc"), made, [0, 1, 2], inputs={"age": age})
    with torch.no_grad():
        difference = (network(made, age) - network(made * 0, age)).diagonal()
    torch.testing.assert_close(DeepLift()(batch).values.flatten(1).sum(1), difference, rtol=1e-12, atol=1e-14)


def test_a_max_pool_gives_each_windows_difference_to_the_places_of_both_maxima():
    """Written out window by window, where the image's or the reference's maximum is the larger one."""
    layer, head = nn.Linear(27, 16), nn.Linear(9, 1)
    parts = [nn.Flatten(), layer, nn.Unflatten(1, (1, 4, 4)), nn.MaxPool2d(2, 1), nn.Flatten(), head]
    network = seeded(lambda: nn.Sequential(*parts))
    layer.bias.data.mul_(20)  # so that the reference's maximum is the larger one in some windows
    made = images(1, 3)
    values, given = (layer(each).detach().reshape(4, 4) for each in (made.flatten(1), torch.zeros(1, 27).double()))
    contributions = torch.zeros(4, 4, dtype=torch.float64)
    windows = [(slice(row, row + 2), slice(column, column + 2)) for row in range(3) for column in range(3)]
    sides = set()
    for window, weight in zip(windows, head.weight.detach()[0]):
        largest, reference = values[window].max(), given[window].max()
        top = max(largest, reference)
        sides.add(bool(largest >= reference))
        contributions[window].view(2, 2)[values[window] == largest] += weight * (top - reference)
        contributions[window].view(2, 2)[given[window] == reference] += weight * (largest - top)
    assert sides == {True, False}
    multiplied = (contributions / (values - given)).reshape(1, 16) @ layer.weight.detach()
    expected = multiplied.reshape(made.shape) * made
    torch.testing.assert_close(explained(network, made, classes=1).values, expected, rtol=1e-10, atol=1e-13)
