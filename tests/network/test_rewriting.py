"""Rewriting of calls: numpy's names of arguments, settings that a module does not have, and functional PReLU."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from heatproof.network.canonical import canonical
from heatproof.network.modules import Clamp, Mean, Rectifier

CALLS: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], type[nn.Module] | None]] = {
    "mean of everything": (lambda network, x: x.flatten(1)[:, :2] - x.mean(), Mean),
    "mean over an axis": (lambda network, x: x.mean(axis=(2, 3)), Mean),
    "mean that keeps dimensions": (lambda network, x: torch.mean(x, axis=(2, 3), keepdims=True).flatten(1), Mean),
    "mean in float64": (lambda network, x: x.mean((2, 3), dtype=torch.float64).float(), None),
    "prelu": (lambda network, x: functional.prelu(x, network.slopes).mean((2, 3)), nn.PReLU),
    "softplus": (lambda network, x: functional.softplus(x, beta=2.0).mean((2, 3)), nn.Softplus),
    "logsigmoid": (lambda network, x: functional.logsigmoid(x).mean((2, 3)), nn.LogSigmoid),
    "clamp": (lambda network, x: x.clamp(-0.5, max=0.5).mean((2, 3)), Clamp),
    "one bound": (lambda network, x: torch.clamp(x, max=0.5).mean((2, 3)), Clamp),
    "rectifier": (lambda network, x: torch.where(x >= 0, x, 0).mean((2, 3)), Rectifier),
}


class Called(nn.Module):
    """A call on the output of a convolution; ``slopes`` are those of a PReLU."""

    def __init__(self, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 3)
        self.slopes = nn.Parameter(torch.tensor([0.2, -0.3]))
        self.call = call

    def forward(self, images: Tensor) -> Tensor:
        return self.call(self, self.first(images))


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_a_module_with_the_same_values(name: str) -> None:
    call, kind = CALLS[name]
    torch.manual_seed(0)
    network = Called(call).eval()
    module = canonical(network)
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(module(images), network(images))
    kinds = {type(child) for child in module.modules()}
    assert kind in kinds if kind else Mean not in kinds


def test_a_functional_prelu_shares_its_parameter() -> None:
    network = Called(CALLS["prelu"][0])
    module = canonical(network)
    (prelu,) = [child for child in module.modules() if isinstance(child, nn.PReLU)]
    assert prelu.weight is network.slopes
