"""Compares a rewritten network with the original on random images, and names the first node that differs."""

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
"""The largest difference of outputs relative to the largest value, by dtype."""


@torch.no_grad()
def compare(view: "View", network: nn.Module, images: Tensor, inputs: Mapping[str, Any]) -> None:
    """Raise ``ModelError`` if a view and its network differ on a random image of the shape of ``images``."""
    rng = torch.Generator().manual_seed(0)
    image = torch.randn(images[:1].shape, generator=rng, dtype=torch.float64).to(images)
    inputs = {name: value[:1] if isinstance(value, Tensor) else value for name, value in inputs.items()}
    reference = _reference(network, images.dtype)
    expected = named_outputs(reference(image, **inputs), view.names)
    actual, _ = view(image, inputs)
    for name, value in expected.items():
        gap = _gap(actual[name], value)
        if not gap <= TOLERANCE.get(images.dtype, 1e-2):
            raise ModelError(
                f"the traced network's output {name!r} differs from the network's own by {gap:.1e} of its largest "
                f"value{_first_difference(view, reference, image, inputs)}{_first_in_place(network)}; rewrite its "
                "forward without such a branch, and without reading a value after it was overwritten in place."
            )


def _gap(actual: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest expected value."""
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float((actual - expected).abs().max() / scale)


def _reference(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network itself if it has this dtype, otherwise a converted copy."""
    parameter = next(network.parameters(), None)
    if parameter is None or parameter.dtype == dtype:
        return network
    return copy.deepcopy(network).to(dtype)


def _first_difference(view: "View", reference: nn.Module, images: Tensor, inputs: Mapping[str, Any]) -> str:
    """A clause that names the first node with another value in the view than in the traced reference."""
    expected = _values(fx.GraphModule(reference, traced(reference)), images, inputs)
    for name, value in _values(view.module, images, inputs).items():
        original = expected.get(view.merged.get(name, name))
        if original is not None and not _gap(value, original) <= TOLERANCE.get(images.dtype, 1e-2):
            return f"; the first node that differs is {name!r}"
    return "; no node differs, so tracing took another branch of the network's code"


def _values(module: fx.GraphModule, images: Tensor, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The floating-point tensors that nodes compute, by node name."""
    interpreter = _Copies(module)
    interpreter.run(*arguments(module.graph, images, inputs))
    return interpreter.copies


class _Copies(fx.Interpreter):
    """Runs a graph once and copies every value, since in-place operations overwrite earlier values."""

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
    names = (name for name, module in network.named_modules() if getattr(module, "inplace", False))
    return next((f"; the first layer that works in place is {name!r}" for name in names), "")
