"""Runs a network forward such that input times gradient is the relevance of AttnLRP."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from heatproof.network.graph import torch_callee
from heatproof.network.modules import ACTIVATIONS, CONVOLUTIONS, Multiply

from .rules import Contribution, grouped, halved, identity, normalised, scaled, with_gradient

PRODUCTS = frozenset({"matmul", "bmm", "mul", "multiply", "einsum", "__matmul__", "baddbmm"})
"""Functions and methods that multiply tensors."""


@dataclass(frozen=True)
class Settings:
    """``gamma`` of linear layers and of convolutions, ``epsilon``, and whether weights of attention are constants."""

    linear: float
    convolution: float
    epsilon: float
    constant: bool


class Propagation(fx.Interpreter):
    """A forward pass over a network whose backward pass follows the rules; no module is modified."""

    def __init__(self, network: fx.GraphModule, settings: Settings):
        super().__init__(network)
        self.settings = settings
        self.extra_traceback = False  # it rewrites the message of an error and imports sympy to do so

    def __call__(self, *arguments: Any) -> Any:
        """The outputs of the network."""
        return self.run(*arguments)

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a module by its rule."""
        module = self.fetch_attr(target)
        if isinstance(module, Multiply):
            return module(*_halved(args))
        if not args or not isinstance(args[0], Tensor) or not args[0].requires_grad:
            return module(*args, **kwargs)
        return self._by_rule(module, args[0], args, kwargs)

    def _by_rule(self, module: nn.Module, values: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        settings = self.settings
        if isinstance(module, nn.Linear):
            return Contribution.apply(values, module, settings.linear, settings.epsilon)
        if isinstance(module, CONVOLUTIONS):
            return Contribution.apply(values, module, settings.convolution, settings.epsilon)
        output = module(*args, **kwargs)
        if isinstance(module, nn.Softmax):
            return output.detach() if settings.constant else output
        if isinstance(module, ACTIVATIONS):
            return identity(values, output)
        rule = next((rule for kind, rule in NORMS.items() if isinstance(module, kind)), None)
        return output if rule is None else rule(module, values, output)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function by its rule."""
        return self._called(super().call_function, target, getattr(target, "__name__", ""), args, kwargs)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method of a tensor by its rule."""
        return self._called(super().call_method, target, str(target), args, kwargs)

    def _called(
        self, call: Callable[..., Any], target: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if name in PRODUCTS:
            return call(target, _halved(args), kwargs)
        output = call(target, args, kwargs)
        if not isinstance(output, Tensor) or not output.requires_grad:
            return output
        if name == "softmax":
            return output.detach() if self.settings.constant else output
        return NORM_CALLS[name](output, *args, **kwargs) if name in NORM_CALLS else output


def _halved(factors: tuple[Any, ...]) -> tuple[Any, ...]:
    """The factors of a product; if several depend on the image, each has an equal share of the relevance."""
    dependent = [factor for factor in factors if isinstance(factor, Tensor) and factor.requires_grad]
    if len(dependent) < 2:
        return factors
    return tuple(halved(factor) if isinstance(factor, Tensor) else factor for factor in factors)


def _axes(shape: Any) -> tuple[int, ...]:
    """The last axes of these sizes."""
    count = 1 if isinstance(shape, int) else len(shape)
    return tuple(range(-count, 0))


def _layer_norm(
    output: Tensor, input: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    return normalised(input, output, _axes(normalized_shape), eps, weight)


def _rms_norm(
    output: Tensor, input: Tensor, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Tensor:
    epsilon = torch.finfo(input.dtype).eps if eps is None else eps
    return with_gradient(output, scaled(input, _axes(normalized_shape), epsilon, weight))


NORM_CALLS: Mapping[str, Callable[..., Tensor]] = {"layer_norm": _layer_norm, "rms_norm": _rms_norm}
"""Function of torch that normalises → its output with the backward pass of the rule."""

NORMS: Mapping[type[nn.Module], Callable[..., Tensor]] = {
    nn.LayerNorm: lambda norm, values, output: _layer_norm(
        output, values, norm.normalized_shape, norm.weight, norm.bias, norm.eps
    ),
    nn.RMSNorm: lambda norm, values, output: _rms_norm(output, values, norm.normalized_shape, norm.weight, norm.eps),
    nn.GroupNorm: lambda norm, values, output: grouped(values, output, norm),
}
"""Class of torch that normalises → its output with the backward pass of the rule."""


def has_rule(module: nn.Module) -> bool:
    """Whether a module passes relevance by a rule of its own."""
    return isinstance(module, (nn.Linear, *CONVOLUTIONS, nn.Softmax, *ACTIVATIONS, Multiply, *NORMS))


def called_by_rule(node: fx.Node) -> bool:
    """Whether the call of a function or method passes relevance by a rule of its own."""
    return torch_callee(node) in {*PRODUCTS, *NORM_CALLS, "softmax"}
