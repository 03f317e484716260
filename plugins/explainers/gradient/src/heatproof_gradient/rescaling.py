"""DeepLIFT's rescale rule: activations and max pools pass quotients of differences instead of derivatives."""

from typing import Any

import torch
from torch import Tensor, nn

from heatproof.network.modules import ACTIVATIONS, ADAPTIVE_MAX_POOLS, MAX_POOLS, ModuleClass

POOLS: tuple[ModuleClass, ...] = (*MAX_POOLS, *ADAPTIVE_MAX_POOLS)
NOT_LINEAR: tuple[ModuleClass, ...] = (*ACTIVATIONS, *POOLS)
SMALL = {torch.float32: 1e-6, torch.float64: 1e-10}
"""Below this difference of inputs, the derivative replaces the quotient of differences."""


class Recording:
    """The input and output of every activation and max pool in one forward pass of the reference."""

    kinds = NOT_LINEAR

    def __init__(self) -> None:
        self.recorded: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    @property
    def has_one_row(self) -> bool:
        """Whether every recorded tensor has one row; a network may make a row of each slice of an image."""
        return all(len(values) == 1 for values, _ in self.recorded.values())

    def activated(self, module: nn.Module, values: Tensor, activated: Tensor) -> Tensor:
        """Record the input and output of a module; returns the unchanged output."""
        self.recorded[module] = (values, activated)
        return activated


class Rescaling:
    """The rule with a recorded reference; it does not change the forward pass."""

    kinds = NOT_LINEAR

    def __init__(self, reference: Recording):
        self.recorded = reference.recorded

    def activated(self, module: nn.Module, values: Tensor, activated: Tensor) -> Tensor:
        """The unchanged output ``activated`` of ``module``, with the rule as its backward pass."""
        rule = Pooled if isinstance(module, POOLS) else Rescaled
        output: Tensor = rule.apply(values, activated, *self.recorded[module], module)
        return output


class Rescaled(torch.autograd.Function):
    """An activation that multiplies the gradient by the quotient of differences (Shrikumar et al. 2017, equation 12).

    Where the input is almost that of the reference, the derivative of the activation replaces the quotient.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, activated: Tensor, reference: Tensor, reference_output: Tensor, module: nn.Module
    ) -> Tensor:
        """The unchanged output."""
        ctx.save_for_backward(values - reference, activated - reference_output)
        return activated.view_as(activated)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradients of ``values``, by the quotient, and of ``activated``, where there is no quotient."""
        difference, output_difference = ctx.saved_tensors
        near = difference.abs() < SMALL[difference.dtype]
        quotient = torch.where(near, 0.0, output_difference / torch.where(near, 1.0, difference))
        return gradient * quotient, gradient * near, None, None, None


class Pooled(torch.autograd.Function):
    """A max pool that gives the difference of each window to the positions of the maxima of image and reference.

    With m as the larger maximum, the position of the image's maximum gets m minus the reference's maximum, and the
    position of the reference's maximum gets the image's maximum minus m. Overlapping windows add up. Each sum is
    divided by the difference of the inputs at its position.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, pooled: Tensor, reference: Tensor, reference_output: Tensor, module: nn.Module
    ) -> Tensor:
        """The unchanged output."""
        ctx.module = module
        ctx.save_for_backward(values, pooled, reference, reference_output)
        return pooled.view_as(pooled)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradient of ``values``: by the quotient, or the derivative of the pool where there is no quotient."""
        values, pooled, reference, reference_output = ctx.saved_tensors
        larger = torch.maximum(pooled, reference_output)
        amounts = _at_maxima(ctx.module, values, gradient * (larger - reference_output))
        amounts = amounts + _at_maxima(ctx.module, reference.expand_as(values), gradient * (pooled - larger))
        difference = values - reference
        near = difference.abs() < SMALL[difference.dtype]
        derivative = _at_maxima(ctx.module, values, gradient)
        return torch.where(near, derivative, amounts / torch.where(near, 1.0, difference)), None, None, None, None


def _at_maxima(module: nn.Module, values: Tensor, amounts: Tensor) -> Tensor:
    """Amounts, one per window, added at the position of each window's maximum."""
    with torch.enable_grad():
        leaf = values.detach().requires_grad_()
        (sums,) = torch.autograd.grad(module(leaf), leaf, amounts)
    return sums
