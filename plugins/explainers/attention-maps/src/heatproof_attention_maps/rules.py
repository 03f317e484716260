"""Rules of AttnLRP as modified gradients: input times gradient is then the relevance.

A layer whose output is proportional to its input passes relevance by the plain gradient. All functions return the
unchanged values and change only what their backward pass does.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

STABLE = 1e-10
"""Keeps a quotient finite at zero."""


def stabilised(values: Tensor, epsilon: float) -> Tensor:
    """The values moved away from zero by epsilon."""
    return values + epsilon * torch.where(values >= 0, 1.0, -1.0).to(values)


def with_gradient(values: Tensor, linear: Tensor) -> Tensor:
    """The values of one tensor with the backward pass of another."""
    return values.detach() + (linear - linear.detach())


def halved(values: Tensor) -> Tensor:
    """A factor of a product, which has half of the relevance: the uniform rule (equation 7 and proposition 3.3)."""
    return 0.5 * values + 0.5 * values.detach()


def identity(values: Tensor, activated: Tensor) -> Tensor:
    """An activation, whose input has the relevance of its output: the identity rule (equation 9)."""
    return with_gradient(activated, values * (activated / stabilised(values, STABLE)).detach())


def normalised(values: Tensor, output: Tensor, axes: tuple[int, ...], epsilon: float, weight: Any = None) -> Tensor:
    """A LayerNorm whose standard deviation over these axes counts as a constant (proposition 3.4)."""
    return with_gradient(output, scaled(values - values.mean(axes, keepdim=True), axes, epsilon, weight))


def scaled(values: Tensor, axes: tuple[int, ...], epsilon: float, weight: Any = None) -> Tensor:
    """Values divided by the root of their mean square over some axes, which counts as a constant, times a weight."""
    ratio = values * (values.square().mean(axes, keepdim=True) + epsilon).rsqrt().detach()
    return ratio if weight is None else ratio * weight


def grouped(values: Tensor, output: Tensor, norm: nn.GroupNorm) -> Tensor:
    """A GroupNorm whose standard deviations count as constants."""
    groups = values.reshape(len(values), norm.num_groups, -1, *values.shape[2:])
    axes = tuple(range(2, groups.ndim))
    ratio = scaled(groups - groups.mean(axes, keepdim=True), axes, norm.eps).flatten(1, 2)
    if norm.weight is not None:
        ratio = ratio * norm.weight.reshape(-1, *(1,) * (values.ndim - 2))
    return with_gradient(output, ratio)


class Contribution(torch.autograd.Function):
    """A linear layer or convolution with the epsilon rule, or with the generalised gamma rule (Andéol et al. 2021)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, module: nn.Module, gamma: float, epsilon: float) -> Tensor:
        """The output of the module."""
        output: Tensor = module(values)
        ctx.save_for_backward(values, output)
        ctx.settings = (module, gamma, epsilon)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradient of the input that times the input is its relevance."""
        values, output = ctx.saved_tensors
        module, gamma, epsilon = ctx.settings
        positive = values.clamp_min(0).requires_grad_()
        negative = values.clamp_max(0).requires_grad_()
        with torch.enable_grad():
            above = _favoured(module, positive, negative, gamma, 1)
            below = _favoured(module, positive, negative, gamma, -1) if gamma else above
            total = torch.where(output > 0, above, below)
            share = gradient * output / stabilised(total.detach(), epsilon)
            first, second = torch.autograd.grad(total, [positive, negative], share)
        return torch.where(values > 0, first, second) * (values != 0), None, None, None


def _favoured(module: nn.Module, positive: Tensor, negative: Tensor, gamma: float, sign: int) -> Tensor:
    """The output if contributions of one sign, and a bias of that sign, count ``gamma`` times more."""
    weight: Any = module.weight
    bias: Any = module.bias
    larger = _more(weight, gamma, sign)
    smaller = _more(weight, gamma, -sign)
    offset = {} if bias is None else {"bias": _more(bias, gamma, sign)}
    zero = {} if bias is None else {"bias": torch.zeros_like(bias)}
    first: Tensor = functional_call(module, {"weight": larger} | offset, (positive,))
    second: Tensor = functional_call(module, {"weight": smaller} | zero, (negative,))
    return first + second


def _more(values: Tensor, gamma: float, sign: int) -> Tensor:
    """The values, of which those of one sign count ``gamma`` times more."""
    return values + gamma * (sign * values).clamp_min(0) * sign
