"""Activations of layers in the pass of training: which module gives them, and their values in its mode."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from heatproof.errors import ModelError
from heatproof.imaging.transforms import Resize
from heatproof.model import Model, NetworkModel
from heatproof_objectives.activations import Activations, calls_of


class Shared(nn.Module):
    """One activation for two convolutions, which works in place, a residual sum, and a dropout before the pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.activation = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        first = self.activation(self.norm(self.first(images)))
        second = self.activation(self.second(first) + first)
        return self.head(self.dropout(second).mean((2, 3)))


class Functional(Shared):
    """The same with functions in place of modules."""

    def forward(self, images: Tensor) -> Tensor:
        first = functional.relu(self.norm(self.first(images)))
        return self.head(functional.relu(self.second(first) + first).mean((2, 3)))


class Coupled(Shared):
    """It cannot be traced, so hooks observe it."""

    def forward(self, images: Tensor) -> Tensor:
        if float(images.detach().mean()) > 1e9:
            raise ValueError
        return super().forward(images)


class Extended(NetworkModel):
    """It has further inputs."""

    def collate(self, samples):
        return {"ages": torch.zeros(len(samples))}


def model_of(network: nn.Module) -> Model:
    return Model.of(network, "ab", Resize(size=8))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_activation_of_a_layer_is_that_of_the_same_pass_in_training_mode(images: Tensor) -> None:
    """Against the network written out: BatchNorm with the statistics of the batch, and no dropout before the layer."""
    network = Shared()
    model = model_of(network)
    calls = calls_of(model, ["first", "last", "second"])
    assert calls == {"first": ("activation", 0), "last": ("activation", 1), "second": ("second", 0)}
    network.train()
    with Activations(network, [path for path, _ in calls.values()]) as observed:
        outputs = network(images)
    values = network.first(images)
    values = (values - values.mean((0, 2, 3), keepdim=True)) / (
        values.var((0, 2, 3), keepdim=True, unbiased=False) + network.norm.eps
    ).sqrt()
    first = values.clamp_min(0)
    torch.testing.assert_close(observed.values[calls["first"]], first, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(observed.values[calls["second"]], network.second(first), rtol=1e-4, atol=1e-5)
    last = (network.second(first) + first).clamp_min(0)
    torch.testing.assert_close(observed.values[calls["last"]], last, rtol=1e-4, atol=1e-5)
    (outputs.sum() + sum(value.sum() for value in observed.values.values())).backward()
    assert not any(module._forward_hooks for module in network.modules())


def test_finding_a_layer_changes_neither_the_network_nor_its_mode(images: Tensor) -> None:
    network = Shared()
    network.dropout.eval()
    model = model_of(network)
    model.network.train()
    network.norm.eval()
    modes = [module.training for module in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    calls_of(model, ["last"])
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_a_network_that_cannot_be_traced_is_observed_too() -> None:
    model = model_of(Coupled())
    assert model.outline.reason
    assert calls_of(model, ["activation", "activation__2"]) == {
        "activation": ("activation", 0), "activation__2": ("activation", 1),
    }  # fmt: skip


def test_layers_that_no_module_gives_and_unknown_ones_are_refused() -> None:
    assert calls_of(model_of(Functional()), []) == {}
    with pytest.raises(ModelError, match=r"the layer 'first' of .* ends in a function that is no module, .* as .*norm"):
        calls_of(model_of(Functional()), ["first"])
    with pytest.raises(ModelError, match=r"no layer 'frist'"):
        calls_of(model_of(Shared()), ["frist"])
    with pytest.raises(ModelError, match=r"the layer 'first' of .* unknown which images the network takes alone"):
        calls_of(Extended(network=Shared(), classes=("a", "b")), ["first"])
