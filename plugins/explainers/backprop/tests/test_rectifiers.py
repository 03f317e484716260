"""Every spelling of a ReLU has the maps and the verdicts of ``nn.ReLU``; other activations are named in the verdict."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import gradients
from heatproof.testing import toys
from heatproof_backprop.deconvnet import DeconvNet
from heatproof_backprop.guided_backprop import GuidedBackprop

pytestmark = pytest.mark.slow

Activation = Callable[[Tensor], Tensor]
SPELLINGS: dict[str, Activation] = {
    "clamp": lambda x: x.clamp(min=0),
    "clamp_positional": lambda x: torch.clamp(x, 0),
    "clamp_tensor": lambda x: torch.clamp(x, min=torch.zeros(1)),
    "clamp_in_place": lambda x: x.clamp_(min=0.0),
    "clip": lambda x: torch.clip(x, min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0),
    "clamp_min_": lambda x: x.clamp_min_(0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "maximum_constant": lambda x: torch.maximum(torch.tensor(0.0), x),
    "max": lambda x: torch.max(x, x.new_zeros(1)),
    "fmax": lambda x: x.fmax(torch.full_like(x, 0)),
    "masked": lambda x: x * (x > 0),
    "masked_float": lambda x: (x >= 0).float() * x,
    "masked_to": lambda x: x.mul(torch.gt(x, 0).to(x.dtype)),
    "masked_reversed": lambda x: x * (x > 0).type_as(x),
    "masked_negated": lambda x: x * ~(x <= 0),
    "masked_in_place": lambda x: x.mul_(x > 0),
    "where": lambda x: torch.where(x > 0, x, 0),
    "where_zeros": lambda x: torch.where(x < 0, torch.zeros_like(x), x),
    "where_method": lambda x: x.where(x >= 0, torch.tensor(0.0)),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0.0),
    "threshold": lambda x: functional.threshold(x, 0, 0),
    "threshold_module": nn.Threshold(0, 0),
    "leaky_without_leak": lambda x: functional.leaky_relu(x, 0.0),
    "hardtanh": lambda x: functional.hardtanh(x, 0.0, float("inf")),
    "relu_": lambda x: torch.relu_(x),
}  # fmt: skip
OTHERS: dict[str, tuple[Activation, str]] = {
    "ReLU6": (functional.relu6, "ReLU6"),
    "Clamp": (lambda x: x.clamp(0, 6), "Clamp"),
    "shifted": (lambda x: x.clamp_min(0.1), "Clamp"),
    "negative": (lambda x: -(-x).clamp(max=0), "Clamp"),
    "Hardtanh": (functional.hardtanh, "Hardtanh"),
    "Hardshrink": (functional.hardshrink, "Hardshrink"),
    "Softshrink": (functional.softshrink, "Softshrink"),
    "Tanhshrink": (functional.tanhshrink, "Tanhshrink"),
    "LogSigmoid": (functional.logsigmoid, "LogSigmoid"),
    "Hardsigmoid": (functional.hardsigmoid, "Hardsigmoid"),
    "Hardswish": (functional.hardswish, "Hardswish"),
    "PReLU": (lambda x: functional.prelu(x, torch.full((1,), 0.2)), "prelu"),
    "Threshold": (lambda x: functional.threshold(x, 0.5, 0), "Threshold"),
    "glu": (lambda x: functional.glu(torch.cat([x, x], 1), 1), "glu"),
    "GLU": (nn.Sequential(nn.Unflatten(1, (1, -1)), nn.GLU(2)), "GLU"),
    "abs": (torch.abs, "abs"),
    "softmax": (lambda x: x.softmax(1), "softmax"),
    "minimum": (lambda x: torch.minimum(x, torch.ones(1)), "minimum"),
    "bounded_by_one": (lambda x: torch.maximum(x, torch.ones(1)), "maximum"),
    "square": (lambda x: x**2, "pow"),
    "wrong_mask": (lambda x: torch.where(x > 0.1, x, 0), "where"),
    "negative_part": (lambda x: torch.where(x < 0, x, 0), "where"),
    "exp": (torch.exp, "exp"),
    "step": (lambda x: x + (x > 0), "gt"),
    "division": (lambda x: x / (1 + x.abs()), "abs"),
}
EXPLAINERS = (GuidedBackprop(), DeconvNet(), GuidedBackprop(act_policy="relu_only"))


class Net(nn.Module):
    """Two convolutions with BatchNorm, each followed by an activation, of which the first may be a ReLU module."""

    def __init__(self, activation: Activation, mixed: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.last = nn.Conv2d(5, 6, 3)
        self.head = nn.Linear(6, 3)
        self.relu = nn.ReLU()
        self.activation = activation
        self.mixed = mixed

    def forward(self, images: Tensor) -> Tensor:
        before = self.norm(self.first(images))
        values = self.relu(before) if self.mixed else self.activation(before)
        return self.head(self.activation(self.last(functional.max_pool2d(values, 2))).mean((2, 3)))


def batch(activation: Activation, mixed: bool = False) -> Batch:
    network = toys.drawn(Net(activation, mixed), 0).double().eval()
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Batch(Model.of(network, "abc"), ["a", "b"], images, [0, 1])


@pytest.fixture(scope="module")
def expected() -> list[Tensor]:
    return [explainer(batch(nn.ReLU())).values for explainer in EXPLAINERS]


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_relu_however_it_is_spelt_is_rectified(name: str, expected: list[Tensor]):
    spelt = batch(SPELLINGS[name])
    for explainer, values in zip(EXPLAINERS, expected):
        assert explainer.verdict(spelt.model).level == "exact"
        assert torch.equal(explainer(spelt).values, values)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_spelling_keeps_its_derivative_at_zero(name: str):
    """The canonical network has torch's own gradient where values are exactly 0, and ends a chain at the spelling."""

    class Alone(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return SPELLINGS[name](images.clone()).flatten(1).sum(1, keepdim=True)

    values = torch.tensor([-1.0, 0.0, 2.0]).reshape(1, 1, 1, 3)
    leaf = values.clone().requires_grad_()
    (native,) = torch.autograd.grad(Alone()(leaf).sum(), leaf)
    result = gradients(Batch(Model.of(Alone(), "a"), ["a"], values, [0])).images
    assert result.tolist() == native.tolist()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("explainer", EXPLAINERS[:2], ids=lambda explainer: type(explainer).__name__)
def test_another_activation_is_named(name: str, explainer: Explainer):
    activation, word = OTHERS[name]
    verdict = explainer.verdict(batch(activation, mixed=True).model)
    assert verdict.level == "approximate"
    assert word in verdict.reason
    alone = explainer.verdict(batch(activation).model)
    assert alone.level in ("approximate", "undefined")
    assert word in alone.reason


@pytest.mark.parametrize("norm", [nn.GroupNorm(1, 5), nn.InstanceNorm2d(5)])
def test_normalisations_and_gates_keep_their_derivative_by_definition(norm: nn.Module):
    network = Net(nn.ReLU())
    network.norm = norm
    for explainer in EXPLAINERS:
        assert explainer.verdict(Model.of(network, "abc")).level == "exact"
