"""Rectified backward passes: guided backpropagation and DeconvNet as rules that belong to one forward."""

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
"""The activations that a policy lets the rule act on; the others keep their derivative."""


def rectification(model: Model, act_policy: ActPolicy = "all") -> Verdict:
    """Whether rectified gradients are defined on a model: exact where every activation is a ReLU."""
    outline = model.outline
    if outline.reason:
        return Verdict(
            "undefined", f"no activation of {model.short} can be rectified: it cannot be traced ({outline.reason})"
        )
    kinds = {kind.__name__: issubclass(kind, RECTIFIED[act_policy]) for kind in outline.activations}
    others = ", ".join(sorted(kind.__name__ for kind in set(outline.activations) if not issubclass(kind, nn.ReLU)))
    if not any(kinds.values()):
        has = f"its activations are {others}; act_policy: all rectifies them" if others else "it has no activation"
        return Verdict("undefined", f"nothing in {model.short} can be rectified: {has}")
    if not others:
        return Verdict("exact")
    if act_policy == "relu_only":
        return Verdict("approximate", f"{others} of {model.short} keep their plain derivative")
    return Verdict("approximate", f"on {others} of {model.short} the rule is a definition, not a fact")


class Rectifying:
    """What the activations of one forward do with the gradient; a rule holds only inside ``under``.

    It belongs to that forward and lives in its graph: no hook, no global and no thread-local state, so that passes in
    other threads, and the backward of a loss over the map, see the plain gradient. ``rectified`` counts the activations
    that the rule acted on.
    """

    def __init__(self, act_policy: ActPolicy = "all"):
        self.kinds, self.rule, self.rectified = RECTIFIED[act_policy], "gradient", 0

    @contextmanager
    def under(self, rule: Rule) -> Iterator[None]:
        """Let ``rule`` hold round one ``autograd.grad``."""
        self.rule, self.rectified = rule, 0
        try:
            yield
        finally:
            self.rule = "gradient"

    def activated(self, module: nn.Module, values: Tensor, activated: Tensor) -> Tensor:
        """What ``module`` made of ``values``, with the rule in its backward."""
        # A ReLU keeps its output for its own backward, and the signs are the same: no more memory than without a rule.
        signs = activated if isinstance(module, nn.ReLU) else values
        return Rectify.apply(values, activated, signs, self)  # type: ignore[no-any-return]


class Rectify(torch.autograd.Function):
    """An activation's output f(z) as it is; its backward obeys the rule of the forward's cell.

    With upstream gradient g: ``gradient`` f'(z) g; ``guided`` f'(z) max(g, 0) 1[z > 0] (Springenberg et al. 2015);
    ``deconv`` max(g, 0) (Zeiler and Fergus 2014). The activation's own backward supplies f', so its bits are native and
    every rule can be differentiated again.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, activated: Tensor, signs: Tensor, cell: Rectifying) -> Tensor:
        """The activated values; ``values``, before activation, take part for the backward of ``deconv``."""
        ctx.cell = cell
        ctx.save_for_backward(signs)
        return activated.view_as(activated)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradients of values and activated: what goes round the activation, and what goes through it."""
        if ctx.cell.rule == "gradient":
            return None, gradient, None, None
        ctx.cell.rectified += 1
        positive = gradient.relu()
        if ctx.cell.rule == "deconv":
            return positive, None, None, None
        (signs,) = ctx.saved_tensors
        return None, positive * (signs > 0), None, None
