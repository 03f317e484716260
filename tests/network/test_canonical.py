"""Canonical and folded views: they give the network's outputs, activations are modules, BatchNorms are merged."""

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torchvision import models

from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.network import folding
from heatproof.network.canonical import canonical, reason_of
from heatproof.network.folding import pairs
from heatproof.network.layers import outline
from heatproof.network.modules import ACTIVATIONS, BATCH_NORMS, Add, Concatenate, Mean, Multiply
from heatproof.network.views import Opaque, View, view

OUTPUTS = ("logits",)


class Functional(nn.Module):
    """Functional activations, dropout, and BatchNorm after a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.second = nn.Conv2d(5, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        values = functional.relu(self.norm(self.first(images)), inplace=True)
        values = functional.max_pool2d(torch.tanh(self.second(values)), 2)
        values = functional.dropout(values.mean((2, 3)), 0.5, self.training)
        return self.head(functional.elu(values, 1.0, True))


class Shared(nn.Module):
    """One ReLU in place serves three layers, and a skip connection reads an early one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        values = self.relu(self.layers[0](images))
        other = self.relu(self.layers[1](values))
        other += values
        return self.relu(self.layers[2](other)).mul_(2).mean((2, 3))


class Trap(nn.Module):
    """An in-place ReLU with an input that is read again: out of place, the network would be another function."""

    def __init__(self, relu: object) -> None:
        super().__init__()
        self.relu = relu

    def forward(self, images: Tensor) -> Tensor:
        values = images.flatten(1) * 1
        self.relu(values)
        return values + 0


class Branching(nn.Module):
    """A branch on values, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = self.layer(images).mean((2, 3))
        return values if values.sum() > 0 else -values


class Asserting(nn.Module):
    """An assertion on a convolution's output, as in timm."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        values = self.layer(images)
        torch._assert(values.ndim == 4, "four dimensions")
        return self.norm(values).mean((2, 3))


class Reread(Asserting):
    """A BatchNorm that cannot be merged, since it is not the only reader of its convolution."""

    def forward(self, images: Tensor) -> Tensor:
        values = self.layer(images)
        return (self.norm(values) + values).mean((2, 3))


class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(1, 4, 3)
        self.norm = nn.BatchNorm3d(4)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.relu(self.norm(self.layer(images))).mean((2, 3, 4))


def calibrated(network: nn.Module, size: int = 64, channels: int = 3, dimensions: int = 2) -> nn.Module:
    """The network in float64 and evaluation mode, with statistics of random images."""
    rng = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, BATCH_NORMS):
            norm.momentum = None
            nn.init.uniform_(norm.weight, 0.5, 1.5, generator=rng)
            nn.init.normal_(norm.bias, 0, 0.2, generator=rng)
    network = network.double().train()
    with torch.no_grad():
        network(torch.randn(4, channels, *(size,) * dimensions, dtype=torch.float64, generator=rng))
    return network.eval()


def build_network(build, **settings):
    torch.manual_seed(0)
    return calibrated(build(**settings))


def small_vgg() -> nn.Module:
    """VGG11 with BatchNorm and a small head, since the usual one has 120 million weights."""
    network = models.vgg11_bn()
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Linear(512, 5)
    return network


def images(size=64, count=2, channels=3, dimensions=2, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, *(size,) * dimensions, dtype=torch.float64, generator=rng)


NETWORKS = {
    "resnet18": (lambda: build_network(models.resnet18, num_classes=5), 20),
    "vgg11_bn": (lambda: build_network(small_vgg), 8),
    "functional": (lambda: build_network(Functional), 1),
    "shared": (lambda: build_network(Shared), 0),
    "asserting": (lambda: build_network(Asserting), 1),
    "reread": (lambda: build_network(Reread), 0),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """A calibrated network, and the number of its BatchNorms that can be merged."""
    build, merged = NETWORKS[request.param]
    return build(), merged


@torch.no_grad()
def test_the_canonical_view_gives_equal_bits(network):
    original, _ = network
    inputs = images()
    outputs, _ = view(original, OUTPUTS, inputs, {}, folded=False)(inputs, {})
    assert torch.equal(outputs["logits"], original(inputs))


@torch.no_grad()
def test_the_folded_view_agrees_to_1e_12(network):
    original, merged = network
    inputs = images()
    folded = view(original, OUTPUTS, inputs, {}, folded=True)
    expected = original(inputs)
    gap = (folded(inputs, {})[0]["logits"] - expected).abs().max() / expected.abs().max()
    assert float(gap) <= 1e-12
    assert len(folded.merged) == merged


def test_every_mergeable_norm_is_gone(network):
    original, merged = network
    norms = [module for module in original.modules() if isinstance(module, BATCH_NORMS)]
    folded = view(original, OUTPUTS, images(), {}, folded=True)
    remaining = [module for module in folded.module.modules() if isinstance(module, BATCH_NORMS)]
    assert len(norms) - len(remaining) == merged


def test_the_network_is_left_as_it_was(network):
    original, _ = network
    before = {name: value.clone() for name, value in original.state_dict().items()}
    flags = [getattr(module, "inplace", None) for module in original.modules()]
    for folded in (False, True):
        view(original, OUTPUTS, images(), {}, folded)
    assert all(torch.equal(before[name], value) for name, value in original.state_dict().items())
    assert flags == [getattr(module, "inplace", None) for module in original.modules()]
    assert all(parameter.requires_grad for parameter in original.parameters())


@torch.no_grad()
@pytest.mark.parametrize(("size", "count"), [(64, 5), (48, 1), (80, 2)])
def test_other_sizes_and_counts_after_tracing_agree(network, size, count):
    original, _ = network
    inputs = images(size, count)
    expected = original(inputs)
    for folded in (False, True):
        actual, _ = view(original, OUTPUTS, images(), {}, folded)(inputs, {})
        assert float((actual["logits"] - expected).abs().max() / expected.abs().max()) <= 1e-12


def test_the_canonical_view_shares_the_parameters(network):
    original, _ = network
    shared = {id(parameter) for parameter in canonical(original).parameters()}
    assert shared == {id(parameter) for parameter in original.parameters()}


def test_the_folded_view_is_frozen_and_nothing_works_in_place(network):
    original, _ = network
    folded = view(original, OUTPUTS, images(), {}, folded=True).module
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert not any(getattr(module, "inplace", False) for module in folded.modules())
    called = [node.target for node in folded.graph.nodes if node.op == "call_module"]
    assert len(called) == len(set(called))


@pytest.mark.parametrize(("build", "activations"), [(Functional, 3), (Shared, 3)])
def test_every_activation_is_a_module_of_its_own(build, activations):
    module = canonical(build_network(build))
    called = [node.target for node in module.graph.nodes if node.op == "call_module"]
    names = [path for path in called if isinstance(module.get_submodule(path), ACTIVATIONS)]
    assert len(set(names)) == len(names) == activations


@pytest.mark.parametrize(
    "relu", [nn.ReLU(inplace=True), torch.relu_, lambda values: functional.relu(values, inplace=True),
     lambda values: values.relu_()],
    ids=["module", "function", "flag", "method"],
)  # fmt: skip
@pytest.mark.parametrize("folded", [False, True])
def test_a_network_that_differs_out_of_place_runs_as_it_is(relu, folded):
    inputs = torch.tensor([-1.0, 2.0], dtype=torch.float64).reshape(1, 2, 1, 1)
    trap = Trap(relu)
    assert trap(inputs).tolist() == [[0.0, 2.0]]
    opaque = view(trap, OUTPUTS, inputs, {}, folded)
    assert isinstance(opaque, Opaque)
    assert "the output 'logits' (by " in opaque.reason
    assert opaque(inputs, {})[0]["logits"].tolist() == [[0.0, 2.0]]
    assert inputs.flatten().tolist() == [-1.0, 2.0]


def test_the_reason_names_the_layer_that_works_in_place():
    opaque = view(Trap(nn.ReLU(inplace=True)), OUTPUTS, torch.rand(1, 3, 2, 2), {}, folded=False)
    assert "the first layer that works in place is 'relu'" in opaque.reason


def test_an_observed_activation_is_not_overwritten():
    network = build_network(Shared)
    inputs = images()
    _, observed = view(network, OUTPUTS, inputs, {}, folded=False)(inputs, {}, ["layers.1", "layers.2"])
    first = torch.relu(network.layers[0](inputs))
    second = torch.relu(network.layers[1](first))
    assert torch.equal(observed["layers.1"], second)
    assert torch.equal(observed["layers.2"], torch.relu(network.layers[2](second + first)))


def test_a_network_that_cannot_be_traced_runs_as_it_is():
    network = Branching().double()
    inputs = images()
    opaque = view(network, OUTPUTS, inputs, {}, folded=True)
    assert isinstance(opaque, Opaque)
    assert opaque.reason
    assert torch.equal(opaque(inputs, {})[0]["logits"], network(inputs))
    with pytest.raises(ModelError, match="layer 'other' cannot be observed: the network has no such module"):
        opaque(inputs, {}, ["other"])
    assert outline(network).convolutions == outline(network).activations == ()
    assert outline(network).reason == opaque.reason
    assert Model.of(network, "abc").capabilities == {"gradients", "layers"}


def test_user_hooks_and_patched_forwards_stay_on_the_users_network():
    network = build_network(Functional)
    calls = []
    network.first.register_forward_hook(lambda *arguments: calls.append(1))
    module = canonical(network)
    module(images())
    assert calls == []
    assert len(network.first._forward_hooks) == 1


def test_volumes_are_folded_too():
    network = calibrated(Volume(), 8, 1, 3)
    inputs = images(8, 2, 1, 3)
    folded = view(network, OUTPUTS, inputs, {}, folded=True)
    assert len(folded.merged) == 1
    torch.testing.assert_close(folded(inputs, {})[0]["logits"], network(inputs), rtol=1e-12, atol=1e-12)


def test_float32_images_run_through_a_float64_network_and_back():
    network = build_network(Functional)
    inputs = images().float()
    logits = view(network, OUTPUTS, inputs, {}, folded=True)(inputs, {})[0]["logits"]
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, network(inputs.double()).float(), rtol=1e-4, atol=1e-5)


def test_a_changed_weight_makes_a_new_folded_view():
    model = Model.of(build_network(Functional), "abc")
    inputs = images()
    before = model.view(inputs, {})
    assert model.view(inputs, {}) is before
    with torch.no_grad():
        model.network.norm.running_mean.add_(1)
    after = model.view(inputs, {})
    assert after is not before
    torch.testing.assert_close(after(inputs, {})[0]["logits"], model.network(inputs), rtol=1e-12, atol=1e-12)


class Calls(nn.Module):
    """The sum of the results of each function on the same values."""

    def __init__(self, *functions) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([function(images * 1).flatten(1).sum(1, keepdim=True) for function in self.functions]).sum(0)


ACTIVATING = {
    nn.ReLU: [functional.relu, torch.relu, torch.relu_, functional.relu_, lambda values: values.relu(),
              lambda values: values.relu_(),
              lambda values: functional.relu(input=values, inplace=True)],
    nn.LeakyReLU: [lambda values: functional.leaky_relu(values, 0.3, True), functional.leaky_relu_],
    nn.ELU: [lambda values: functional.elu(values, 0.7), functional.elu_],
    nn.CELU: [lambda values: functional.celu(values, 0.7), torch.celu],
    nn.SELU: [torch.selu, functional.selu], nn.GELU: [lambda values: functional.gelu(values, approximate="tanh")],
    nn.Hardtanh: [lambda values: functional.hardtanh(values, -0.5, 0.7)], nn.ReLU6: [functional.relu6],
    nn.Softplus: [lambda values: functional.softplus(values, 2.0, 5)], nn.Mish: [functional.mish],
    nn.Threshold: [lambda values: functional.threshold(values, 0.1, -3.0)], nn.Softsign: [functional.softsign],
    nn.Sigmoid: [torch.sigmoid, torch.sigmoid_, lambda values: values.sigmoid()], nn.Tanh: [torch.tanh, torch.tanh_],
    nn.Hardswish: [functional.hardswish], nn.Hardsigmoid: [functional.hardsigmoid], nn.SiLU: [functional.silu],
    nn.RReLU: [lambda values: functional.rrelu(values, 0.1, 0.4)],
}  # fmt: skip
POOLING = {
    nn.MaxPool2d: [lambda values: functional.max_pool2d(values, 3, 2, 1), lambda values: torch.max_pool2d(values, 2),
                   lambda values: functional.max_pool2d(values, (2, 3), ceil_mode=True)],
    nn.AvgPool2d: [lambda values: functional.avg_pool2d(values, 3, 1, 1, False, False),
                   lambda values: functional.avg_pool2d(values, kernel_size=2, divisor_override=3)],
    nn.AdaptiveAvgPool2d: [lambda values: functional.adaptive_avg_pool2d(values, (2, 3))],
    nn.AdaptiveMaxPool2d: [lambda values: functional.adaptive_max_pool2d(values, 2)],
}  # fmt: skip


CALLED = ACTIVATING | POOLING


@torch.no_grad()
@pytest.mark.parametrize(("kind", "functions"), CALLED.items(), ids=[kind.__name__ for kind in CALLED])
def test_functions_become_modules_with_the_same_settings(kind, functions):
    network = Calls(*functions)
    inputs = images(12)
    module = canonical(network)
    assert [type(child) for child in module.children()] == [kind] * len(functions)
    assert not [node for node in module.graph.nodes if node.op == "call_function" and "pool" in str(node.target)]
    assert torch.equal(module(inputs), network(inputs))


def in_place(values: Tensor) -> Tensor:
    result = values * 1
    result += values
    result *= values
    return result


JOINING = {
    Add: [lambda values: values + values.cos(), lambda values: torch.add(values, values.cos()),
          lambda values: values.add(values.cos()), lambda values: values.cos().add_(values)],
    Multiply: [lambda values: values * values.cos(), lambda values: torch.mul(values, values.cos()),
               lambda values: values.mul(values.cos()), lambda values: torch.multiply(values, values.cos())],
    Concatenate: [lambda values: torch.cat([values, values.cos()], 1), lambda values: torch.cat((values,) * 2, dim=2),
                  lambda values: torch.concat([values, values], axis=3), lambda values: torch.cat([values])],
    Mean: [lambda values: values.mean((2, 3)), lambda values: torch.mean(values, dim=(2, 3), keepdim=True),
           lambda values: values.mean(1, True)],
}  # fmt: skip
KEPT = (
    lambda values: values + 2.5, lambda values: 2 * values, lambda values: torch.add(values, values, alpha=0.5),
    lambda values: values * values.shape[1], lambda values: values + torch.ones(1, values.shape[2] + 0).sum(),
)  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize(("kind", "functions"), JOINING.items(), ids=[kind.__name__ for kind in JOINING])
def test_functions_that_join_tensors_become_modules(kind, functions):
    network = Calls(*functions)
    inputs = images(12)
    module = canonical(network)
    assert [type(child) for child in module.children()] == [kind] * len(functions)
    assert torch.equal(module(inputs), network(inputs))


@torch.no_grad()
def test_in_place_operators_become_modules():
    network = Calls(in_place)
    inputs = images(12)
    module = canonical(network)
    assert [type(child) for child in module.children()] == [Add, Multiply]
    assert torch.equal(module(inputs), network(inputs))


@torch.no_grad()
def test_numbers_are_added_and_multiplied_as_before():
    network = Calls(*KEPT)
    inputs = images(12)
    module = canonical(network)
    assert list(module.children()) == []
    assert torch.equal(module(inputs), network(inputs))


@torch.no_grad()
def test_a_pool_whose_size_the_network_computes_stays_a_function():
    network = Calls(lambda values: functional.avg_pool2d(values, values.shape[2:]))
    inputs = images(12)
    canonical_view = view(network, OUTPUTS, inputs, {}, folded=False)
    assert list(canonical_view.module.children()) == []
    assert torch.equal(canonical_view(images(8), {})[0]["logits"], network(images(8)))


@torch.no_grad()
@pytest.mark.parametrize("dimensions", [1, 3])
def test_pools_of_other_dimensions_become_modules(dimensions):
    names = ["max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"]
    functions = [getattr(functional, f"{name}{dimensions}d") for name in names]
    network = Calls(*(lambda values, pool=pool: pool(values, 2) for pool in functions))
    inputs = images(6, dimensions=dimensions)
    module = canonical(network)
    assert len(list(module.children())) == len(names)
    assert torch.equal(module(inputs), network(inputs))


class Opened(nn.Module):
    """Convolution, BatchNorm and linear layer as in timm: functions of Parameters, between assertions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3, bias=False)
        self.norm = NormAndActivation(6)
        self.act = nn.SiLU()
        self.point = nn.Conv2d(6, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem
        values = functional.conv2d(images, stem.weight, stem.bias, stem.stride, stem.padding, groups=stem.groups)
        values = self.norm(values)
        values = functional.conv2d(input=values, weight=self.point.weight, bias=self.point.bias)
        return functional.linear(self.act(values).mean((2, 3)), self.head.weight, self.head.bias)


class NormAndActivation(nn.BatchNorm2d):
    """A subclass that fx traces into, with a child module."""

    __module__ = "elsewhere"  # fx does not trace into modules of torch.nn

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, values: Tensor) -> Tensor:
        torch._assert(values.ndim == 4, "four dimensions")
        torch._assert(values.shape[1] == self.num_features, "channels")
        values = functional.batch_norm(
            values, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps
        )
        return self.act(values)


def unfolded(folded: View) -> list[str]:
    """The BatchNorms behind a convolution that were not merged into it."""
    return [norm.name for _, norm in pairs(folded.module)]


@torch.no_grad()
def test_functions_of_parameters_become_modules_that_share_them():
    network = build_network(Opened)
    inputs = images()
    module = canonical(network)
    assert not [node for node in module.graph.nodes if node.op == "get_attr"]
    assert {id(value) for value in module.parameters()} == {id(value) for value in network.parameters()}
    assert outline(network).convolutions == ("stem", "point")
    assert outline(network).activations == (nn.ReLU, nn.SiLU)
    assert torch.equal(view(network, OUTPUTS, inputs, {}, folded=False)(inputs, {})[0]["logits"], network(inputs))
    folded = view(network, OUTPUTS, inputs, {}, folded=True)
    assert (len(folded.merged), unfolded(folded)) == (1, [])
    torch.testing.assert_close(folded(inputs, {})[0]["logits"], network(inputs), rtol=1e-12, atol=1e-12)


def test_a_training_loss_reaches_the_shared_parameters():
    network = build_network(Opened)
    inputs = images()
    outputs, _ = view(network, OUTPUTS, inputs, {}, folded=False)(inputs, {})
    actual = torch.autograd.grad(outputs["logits"].sum(), list(network.parameters()))
    expected = torch.autograd.grad(network(inputs).sum(), list(network.parameters()))
    for gradient, reference in zip(actual, expected):
        torch.testing.assert_close(gradient, reference, rtol=1e-10, atol=1e-12)


class Standardised(nn.Module):
    """A convolution with a computed weight, which belongs to no module."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, self.layer.weight * 2, self.layer.bias).mean((2, 3))


def test_a_convolution_with_a_computed_weight_stays_a_function():
    network = Standardised().double()
    inputs = images()
    folded = view(network, OUTPUTS, inputs, {}, folded=True)
    assert outline(network).convolutions == ()
    torch.testing.assert_close(folded(inputs, {})[0]["logits"], network(inputs), rtol=1e-12, atol=1e-12)


class Shaped(Asserting):
    """The shape of the convolution's output is read, before and after the norm."""

    def forward(self, images: Tensor) -> Tensor:
        values = self.layer(images)
        count = values.shape[0]
        normed = self.norm(values)
        return normed.reshape(count, values.size(1), -1).mean(2)


def test_readers_of_the_shape_alone_do_not_prevent_folding():
    network = build_network(Shaped)
    inputs = images()
    folded = view(network, OUTPUTS, inputs, {}, folded=True)
    assert (len(folded.merged), unfolded(folded)) == (1, [])
    torch.testing.assert_close(folded(inputs, {})[0]["logits"], network(inputs), rtol=1e-12, atol=1e-12)


def test_norms_that_cannot_be_merged_stay():
    assert unfolded(view(build_network(Reread), OUTPUTS, images(), {}, folded=True)) == ["norm"]


def test_a_norm_that_was_not_merged_by_mistake_is_refused(monkeypatch):
    monkeypatch.setattr(folding, "_merge", lambda *arguments: None)
    with pytest.raises(ModelError, match="BatchNorm 'norm' follows a convolution, but was not merged"):
        view(build_network(Functional), OUTPUTS, images(), {}, folded=True)


class Late(nn.Module):
    """Only the last node differs out of place: an in-place ReLU with an input that is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(True)
        self.second = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        values = self.norm(self.first(self.second(images)))
        return (self.relu(values) + values).mean((2, 3))


@pytest.mark.parametrize("folded", [False, True])
def test_the_reason_names_the_first_node_that_differs(folded):
    """The convolution with a merged BatchNorm is not named, since its value must differ."""
    opaque = view(build_network(Late), OUTPUTS, images(), {}, folded)
    assert "the first node that differs is 'add'; the first layer that works in place is" in opaque.reason


class Watched(nn.Module):
    """Computes something else while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).mean((2, 3)) * (2 if isinstance(images, fx.Proxy) else 1)


def test_the_reason_says_that_tracing_took_another_branch():
    network = Watched().double()
    opaque = view(network, OUTPUTS, images(), {}, folded=False)
    assert "no node differs, so tracing took another branch" in opaque.reason
    assert torch.equal(opaque(images(), {})[0]["logits"], network(images()))


def test_activations_are_named_in_order_of_evaluation():
    assert outline(build_network(Functional)).activations == (nn.ReLU, nn.Tanh, nn.ELU)
    assert outline(build_network(Shared)).activations == (nn.ReLU,) * 3
    assert outline(Branching()).reason


@pytest.mark.parametrize(
    ("build", "layers", "first", "last"),
    [
        (models.resnet18, 20, "conv1", "layer4.1.conv2"),
        (models.vgg16, 13, "features.0", "features.28"),
        (models.resnet50, 53, "conv1", "layer4.2.conv3"),
        pytest.param(
            lambda: models.inception_v3(init_weights=False, aux_logits=True), 94, "Conv2d_1a_3x3.conv",
            "Mixed_7c.branch_pool.conv",
        ),
    ],
)  # fmt: skip
def test_convolutions_are_found_in_order_of_evaluation(build, layers, first, last):
    with torch.device("meta"):
        network = build()
    names = outline(network.eval()).convolutions
    assert len(names) == len(set(names)) == layers
    assert (names[0], names[-1]) == (first, last)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(
    ("build", "size", "norms"),
    [
        (lambda: models.resnet50(num_classes=5), 64, 53),
        (lambda: models.inception_v3(num_classes=5, init_weights=False, transform_input=True), 96, 94),
    ],
    ids=["resnet50", "inception_v3"],
)
def test_large_networks_fold_every_norm(build, size, norms):
    torch.manual_seed(0)
    network = build()
    network.aux_logits = False
    network.AuxLogits = None
    network = calibrated(network, size)
    inputs = images(size)
    folded = view(network, OUTPUTS, inputs, {}, folded=True)
    assert isinstance(folded, View)
    assert len(folded.merged) == norms
    assert torch.equal(view(network, OUTPUTS, inputs, {}, folded=False)(inputs, {})[0]["logits"], network(inputs))
    expected = network(inputs)
    assert float((folded(inputs, {})[0]["logits"] - expected).abs().max() / expected.abs().max()) <= 1e-12


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("two ways\nand more"), "two ways"),
        (ValueError("\n \ntwo ways"), "two ways"),
        (TypeError("\n"), "TypeError"),
        (TypeError(), "TypeError"),
    ],
)
def test_there_is_always_a_reason(error, reason):
    assert reason_of(error) == reason


class Doubling:
    """A cell that doubles the output of tanh, and records the modules that it is called with."""

    kinds = (nn.Tanh,)

    def __init__(self):
        self.modules = []

    def activated(self, module: nn.Module, values: Tensor, activated: Tensor) -> Tensor:
        assert torch.equal(module(values), activated)
        self.modules.append(type(module))
        return activated * 2


@pytest.mark.parametrize("folded", [False, True])
def test_a_cell_replaces_the_output_of_its_kinds_in_one_forward_only(folded):
    network = build_network(Functional)
    inputs = images()
    cell = Doubling()
    plain = view(network, OUTPUTS, inputs, {}, folded=folded)
    before = plain(inputs, {})[0]["logits"]
    changed = plain(inputs, {}, cell=cell)[0]["logits"]
    assert cell.modules == [nn.Tanh]
    assert not torch.allclose(before, changed)
    assert torch.equal(plain(inputs, {})[0]["logits"], before)


def test_a_cell_is_refused_where_the_network_cannot_be_traced():
    opaque = view(Branching().double(), OUTPUTS, images(), {}, folded=True)
    assert isinstance(opaque, Opaque)
    with pytest.raises(ModelError, match="no rule can change its layers: the network cannot be traced"):
        opaque(images(), {}, cell=Doubling())


class Shifted(nn.Module):
    """Adds a constant that it creates in each forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).mean((2, 3)) + torch.tensor([1.0, 2.0], dtype=torch.float64)


def test_tracing_leaves_no_constant_on_the_network():
    network = Shifted().double()
    before = {*vars(network), *network._buffers}
    shifted = view(network, OUTPUTS, images(), {}, folded=True)
    assert isinstance(shifted, View)
    torch.testing.assert_close(shifted(images(), {})[0]["logits"], network(images()), rtol=1e-12, atol=1e-12)
    assert {*vars(network), *network._buffers} == before
