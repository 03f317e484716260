"""DeepLIFT's rescale rule: what is not linear passes differences from a reference instead of derivatives."""

from typing import Any

import torch
from torch import Tensor, nn

from heatproof.network.modules import ACTIVATIONS, ADAPTIVE_MAX_POOLS, MAX_POOLS, ModuleClass

Passed = dict[nn.Module, tuple[Tensor, Tensor]]
POOLS: tuple[ModuleClass, ...] = (*MAX_POOLS, *ADAPTIVE_MAX_POOLS)
NOT_LINEAR: tuple[ModuleClass, ...] = (*ACTIVATIONS, *POOLS)
SMALL = {torch.float32: 1e-6, torch.float64: 1e-10}
"""A difference below which a derivative stands for the quotient of differences."""


class Recording:
    """What every module that is not linear was given, and gave, in one forward without gradients."""

    kinds = NOT_LINEAR

    def __init__(self) -> None:
        self.passed: Passed = {}

    def activated(self, module: nn.Module, values: Tensor, activated: Tensor) -> Tensor:
        """The output as it is; both are kept."""
        self.passed[module] = values, activated
        return activated


class Rescaling:
    """The rule against a reference that was recorded; its forward is the network's own."""

    kinds = NOT_LINEAR

    def __init__(self, reference: Recording):
        self.passed = reference.passed

    def activated(self, module: nn.Module, values: Tensor, activated: Tensor) -> Tensor:
        """What ``module`` made of ``values``, with the rule in its backward."""
        rule = Pooled if isinstance(module, POOLS) else Rescaled
        made: Tensor = rule.apply(values, activated, *self.passed[module], module)
        return made


class Rescaled(torch.autograd.Function):
    """An activation whose backward multiplies by the quotient of differences (Shrikumar et al. 2017, equation 12).

    Where the input hardly differs from the reference's, the activation's own derivative takes its place.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, activated: Tensor, given: Tensor, gave: Tensor, module: nn.Module) -> Tensor:
        """The activated values as they are."""
        ctx.save_for_backward(values - given, activated - gave)
        return activated.view_as(activated)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradients of values and activated: by the quotient, and through the activation where there is none."""
        difference, risen = ctx.saved_tensors
        near = difference.abs() < SMALL[difference.dtype]
        quotient = torch.where(near, 0.0, risen / torch.where(near, 1.0, difference))
        return gradient * quotient, gradient * near, None, None, None


class Pooled(torch.autograd.Function):
    """A max pool whose backward gives each window's difference to the places where the two maxima were.

    With m the larger of both maxima, the image's place gets m less the reference's maximum, and the reference's place
    the image's maximum less m; overlapping windows add up. Each is divided by the difference of the inputs there.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, pooled: Tensor, given: Tensor, gave: Tensor, module: nn.Module) -> Tensor:
        """The pooled values as they are."""
        ctx.module = module
        ctx.save_for_backward(values, pooled, given, gave)
        return pooled.view_as(pooled)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradients of values and pooled: by the quotient, and through the pool where there is none."""
        values, pooled, given, gave = ctx.saved_tensors
        top = torch.maximum(pooled, gave)
        placed = _spread(ctx.module, values, gradient * (top - gave))
        placed = placed + _spread(ctx.module, given.expand_as(values), gradient * (pooled - top))
        difference = values - given
        near = difference.abs() < SMALL[difference.dtype]
        own = _spread(ctx.module, values, gradient)
        return torch.where(near, own, placed / torch.where(near, 1.0, difference)), None, None, None, None


def _spread(module: nn.Module, values: Tensor, amounts: Tensor) -> Tensor:
    """Amounts (one per window) at the place of each window's maximum."""
    with torch.enable_grad():
        leaf = values.detach().requires_grad_()
        (placed,) = torch.autograd.grad(module(leaf), leaf, amounts)
    return placed
