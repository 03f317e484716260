"""Rectifies backward passes: guided backpropagation and DeconvNet as rules of a single forward pass."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from heatproof.model import Model
from heatproof.network.modules import ACTIVATIONS, ModuleClass
from heatproof.records import Verdict

Rule = Literal["gradient", "guided", "deconv"]
RULES: tuple[Rule, ...] = ("deconv", "gradient", "guided")
ActPolicy = Literal["all", "relu_only"]
RECTIFIED: Mapping[ActPolicy, tuple[ModuleClass, ...]] = {"all": ACTIVATIONS, "relu_only": (nn.ReLU,)}
"""The activations that the rule of each policy acts on; other activations keep their derivative."""


def rectification(model: Model, act_policy: ActPolicy = "all") -> Verdict:
    """Judge whether rectified gradients are defined on a model: exact where every activation is a ReLU."""
    outline = model.outline
    if outline.reason:
        return Verdict(
            "undefined",
            f"no activation of {model.short} can be rectified: the network cannot be traced ({outline.reason})",
        )
    kinds = {kind.__name__: issubclass(kind, RECTIFIED[act_policy]) for kind in outline.activations}
    others = ", ".join(sorted(kind.__name__ for kind in set(outline.activations) if not issubclass(kind, nn.ReLU)))
    if not any(kinds.values()):
        reason = "it has no activation"
        if others:
            reason = f"its activations are {others}; act_policy: all rectifies them"
        return Verdict("undefined", f"nothing in {model.short} can be rectified: {reason}")
    if not others:
        return Verdict("exact")
    if act_policy == "relu_only":
        return Verdict("approximate", f"{others} of {model.short} keep their plain derivative")
    return Verdict("approximate", f"the rule is published for ReLU; {model.short} has {others}")


class Rectifying:
    """The rule by which the activations of one forward pass handle the gradient; it acts only inside ``under``.

    The rule is stored in the graph of its forward pass, without hooks and without global or thread-local state. Passes
    in other threads, and the backward pass of a loss over the map, keep the plain gradient. ``rectified`` counts the
    activations that the rule acted on.
    """

    def __init__(self, act_policy: ActPolicy = "all"):
        self.kinds = RECTIFIED[act_policy]
        self.rule: Rule = "gradient"
        self.rectified = 0

    @contextmanager
    def under(self, rule: Rule) -> Iterator[None]:
        """Apply ``rule`` to the call of ``autograd.grad`` in the body of this context."""
        self.rule = rule
        self.rectified = 0
        try:
            yield
        finally:
            self.rule = "gradient"

    def activated(self, module: nn.Module, values: Tensor, activated: Tensor) -> Tensor:
        """Attach the rule to the backward pass of ``activated``, the output of ``module`` for ``values``."""
        # A ReLU saves its output for its backward pass anyway, and the signs of output and input are the same.
        signs = activated if isinstance(module, nn.ReLU) else values
        return Rectify.apply(values, activated, signs, self)  # type: ignore[no-any-return]


class Rectify(torch.autograd.Function):
    """Returns an activation's output f(z) unchanged and applies the rule of the forward pass to its gradient.

    With upstream gradient g: ``gradient`` f'(z) g; ``guided`` f'(z) max(g, 0) 1[z > 0] (Springenberg et al. 2015);
    ``deconv`` max(g, 0) (Zeiler and Fergus 2014). The activation's own backward pass supplies f': ``gradient`` equals
    the plain gradient to the bit, and every rule can be differentiated again.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, activated: Tensor, signs: Tensor, cell: Rectifying) -> Tensor:
        """Return the activated values; ``values``, before activation, receive the gradient of ``deconv``."""
        ctx.cell = cell
        ctx.save_for_backward(signs)
        return activated.view_as(activated)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradients of ``values``, past the activation, and of ``activated``, through the activation."""
        if ctx.cell.rule == "gradient":
            return None, gradient, None, None
        ctx.cell.rectified += 1
        positive = gradient.relu()
        if ctx.cell.rule == "deconv":
            return positive, None, None, None
        (signs,) = ctx.saved_tensors
        return None, positive * (signs > 0), None, None
