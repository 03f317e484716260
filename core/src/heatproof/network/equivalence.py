"""Compares a rewritten network with the original on a random batch, and finds the first node that differs."""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from ..errors import ModelError
from .graph import arguments
from .tracing import named_outputs, traced

if TYPE_CHECKING:
    from .views import View

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


@torch.no_grad()
def compare(made: "View", network: nn.Module, images: Tensor, inputs: Mapping[str, Any]) -> None:
    """Raise ``ModelError`` for a form whose outputs differ from the network's own on a random batch."""
    draw = torch.Generator().manual_seed(0)
    batch = torch.randn(images[:1].shape, generator=draw, dtype=torch.float64).to(images)
    first = {name: value[:1] if isinstance(value, Tensor) else value for name, value in inputs.items()}
    reference = _reference(network, images.dtype)
    expected = named_outputs(reference(batch, **first), made.names)
    found, _ = made(batch, first)
    for name, value in expected.items():
        gap = _gap(found[name], value)
        if not gap <= TOLERANCE.get(images.dtype, 1e-2):
            raise ModelError(
                f"the traced network's output {name!r} differs from the network's own by {gap:.1e} of its largest "
                f"value{_first_difference(made, reference, batch, first)}{_first_in_place(network)}; give the network "
                "without such a layer."
            )


def _gap(one: Tensor, other: Tensor) -> float:
    """The largest difference relative to the largest value."""
    scale = other.abs().max().clamp_min(torch.finfo(other.dtype).tiny)
    return float((one - other).abs().max() / scale)


def _reference(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network itself, or a copy in the dtype that is asked for."""
    parameter = next(network.parameters(), None)
    if parameter is None or parameter.dtype == dtype:
        return network
    return copy.deepcopy(network).to(dtype)


def _first_difference(made: "View", reference: nn.Module, images: Tensor, inputs: Mapping[str, Any]) -> str:
    """The first node whose value differs from the one in the graph as it was traced, in words."""
    graph = traced(reference)
    expected = _values(fx.GraphModule(reference, graph), images, inputs)
    for name, value in _values(made.module, images, inputs).items():
        original = expected.get(made.merged.get(name, name))
        if original is not None and not _gap(value, original) <= TOLERANCE.get(images.dtype, 1e-2):
            return f"; the first node that differs is {name!r}"
    return "; no node differs, so tracing took another way through the network's code"


def _values(module: fx.GraphModule, images: Tensor, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The value of every node that gives a floating-point tensor, as it was when the node had run."""
    walk = _Copies(module)
    walk.run(*arguments(module.graph, images, inputs))
    return walk.copies


class _Copies(fx.Interpreter):
    """One forward that copies every value, since what works in place overwrites earlier ones."""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module)
        self.copies: dict[str, Tensor] = {}

    def run_node(self, node: fx.Node) -> Any:
        """Run a node and copy its value."""
        value = super().run_node(node)
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            self.copies[node.name] = value.clone()
        return value


def _first_in_place(network: nn.Module) -> str:
    names = [name for name, module in network.named_modules() if getattr(module, "inplace", False)]
    return f"; the first layer that works in place is {names[0]!r}" if names else ""
