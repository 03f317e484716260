"""Rectifies backward passes: guided backpropagation and DeconvNet as rules of a single forward pass."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from heatproof.model import Model
from heatproof.network.graph import of_kind, torch_callee
from heatproof.network.modules import (
    ACTIVATIONS,
    ADAPTIVE_MAX_POOLS,
    BATCH_NORMS,
    MAX_POOLS,
    ModuleClass,
    Multiply,
)  # fmt: skip
from heatproof.records import Verdict

from .linearity import PRODUCTS, QUOTIENTS, name_of, not_linear

Rule = Literal["gradient", "guided", "deconv"]
RULES: tuple[Rule, ...] = ("deconv", "gradient", "guided")
ActPolicy = Literal["all", "relu_only"]
RECTIFIED: Mapping[ActPolicy, tuple[ModuleClass, ...]] = {"all": ACTIVATIONS, "relu_only": (nn.ReLU,)}
"""The activations that the rule of each policy acts on; other activations keep their derivative."""


PLAIN: tuple[ModuleClass, ...] = (
    *MAX_POOLS, *ADAPTIVE_MAX_POOLS, *BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm, Multiply,
)  # fmt: skip
"""Modules that are no activation, and keep their derivative by the definition of the rules."""
PLAIN_CALLS = PRODUCTS | QUOTIENTS | {"group_norm", "layer_norm", "instance_norm", "local_response_norm", "batch_norm"}


def rectification(model: Model, act_policy: ActPolicy = "all") -> Verdict:
    """Judge whether rectified gradients are defined on a model: exact where every activation is a ReLU."""
    outline = model.outline
    if outline.module is None:
        return Verdict(
            "undefined",
            f"no activation of {model.short} can be rectified: the network cannot be traced ({outline.reason})",
        )
    activations = [node for node in not_linear(model) if not _is_plain(outline.module, node)]
    names = {name_of(outline.module, node): node for node in activations}
    rectified = {name for name, node in names.items() if of_kind(outline.module, node, RECTIFIED[act_policy])}
    foreign = {name for name in rectified if not of_kind(outline.module, names[name], (nn.ReLU,))}
    untouched = sorted(set(names) - rectified)
    if not rectified:
        reason = f"no activation lies between the image and the output {model.explained!r}"
        if untouched:
            reason = f"its activations are {', '.join(untouched)}"
        if any(of_kind(outline.module, names[name], ACTIVATIONS) for name in untouched):
            reason += "; act_policy: all rectifies them"
        return Verdict("undefined", f"nothing in {model.short} can be rectified: {reason}")
    reasons = []
    if foreign:
        reasons.append(f"the rule is published for ReLU; {model.short} has {', '.join(sorted(foreign))}")
    if untouched:
        reasons.append(f"{', '.join(untouched)} of {model.short} keep their plain derivative")
    return Verdict("approximate", "; ".join(reasons)) if reasons else Verdict("exact")


def _is_plain(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is no activation: a max pool, a normalisation, or a product or quotient of tensors."""
    return of_kind(network, node, PLAIN) or torch_callee(node) in PLAIN_CALLS


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
