"""The rule of a forward pass: its values at one activation, its policy, its scope, and its memory."""

import pytest
import torch
from torch import nn

from heatproof.network.views import view
from heatproof_shared_passes.rectification import Rectifying

VALUES = torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=torch.float64)
UPSTREAM = torch.tensor([3.0, 4.0, -5.0, -6.0], dtype=torch.float64)


def backward(rule, module=None, cell=None):
    """The gradient of an activation's input under a rule."""
    module = module or nn.ReLU()
    cell = cell or Rectifying()
    values = VALUES.clone().requires_grad_()
    activated = module(values)
    if isinstance(module, cell.kinds):
        activated = cell.activated(module, values, activated)
    assert torch.equal(activated, module(values))
    with cell.under(rule):
        (gradient,) = torch.autograd.grad(activated, values, UPSTREAM)
    return gradient


@pytest.mark.parametrize(
    ("rule", "expected"), [("gradient", [3, 0, -5, 0]), ("deconv", [3, 4, 0, 0]), ("guided", [3, 0, 0, 0])]
)
def test_the_rules_at_a_relu(rule, expected):
    assert backward(rule).tolist() == expected


@pytest.mark.parametrize("module", [nn.ReLU(), nn.SiLU(), nn.ELU(), nn.Sigmoid(), nn.GELU(), nn.Softplus()])
def test_the_gradient_has_the_native_bits(module):
    values = VALUES.clone().requires_grad_()
    (native,) = torch.autograd.grad(module(values), values, UPSTREAM)
    assert torch.equal(backward("gradient", module), native)


def test_other_activations_keep_their_derivative_and_their_sign_is_that_of_the_input():
    """A sigmoid's output is positive everywhere; the rule uses the sign of its input."""
    sigmoid = 1 / (1 + torch.exp(-VALUES))
    expected = sigmoid * (1 - sigmoid) * torch.tensor([3.0, 0, 0, 0])
    torch.testing.assert_close(backward("guided", nn.Sigmoid()), expected, rtol=1e-14, atol=0)
    assert backward("deconv", nn.Sigmoid()).tolist() == [3, 4, 0, 0]


@pytest.mark.parametrize(("policy", "count"), [("all", 1), ("relu_only", 0)])
def test_the_policy_says_where_the_rule_acts(policy, count):
    cell = Rectifying(policy)
    gradient = backward("guided", nn.SiLU(), cell)
    assert cell.rectified == count
    assert torch.equal(gradient, backward("gradient", nn.SiLU())) == (count == 0)


def test_the_rule_holds_inside_only_also_after_an_error():
    cell = Rectifying()
    with pytest.raises(RuntimeError, match="inside"), cell.under("deconv"):
        raise RuntimeError("inside")
    assert cell.rule == "gradient"


@pytest.mark.parametrize("rule", ["guided", "deconv"])
@pytest.mark.parametrize("module", [nn.ReLU(), nn.SiLU(), nn.GELU()])
def test_rules_can_be_differentiated_again(rule, module):
    """Autograd's own check by finite differences, of the rule as a function of values and upstream gradient."""

    def rectified(values, upstream):
        cell = Rectifying()
        activated = cell.activated(module, values, module(values))
        with cell.under(rule):
            (gradient,) = torch.autograd.grad(activated, values, upstream, create_graph=True)
        return gradient

    assert torch.autograd.gradcheck(rectified, (VALUES.clone().requires_grad_(), UPSTREAM.clone().requires_grad_()))


def test_an_activation_keeps_no_more_memory_for_a_rule():
    """A ReLU keeps its output anyway; the rule keeps the same storage."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Tanh(), nn.MaxPool2d(2))
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2), nn.ELU()).double().eval()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    folded = view(network, ("logits",), images, {}, folded=True)
    inputs = images.clone().requires_grad_()
    storages = {}

    def record(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    sizes = []
    for cell in (None, Rectifying("relu_only")):
        storages.clear()
        with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
            result = folded(inputs, {}, cell=cell)
        sizes.append(sum(storages.values()))
        del result
    assert sizes[0] == sizes[1] > 0
