"""One forward over a network whose backward is relevance: each layer hands it on by its rule."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from zennit.core import Hook
from zennit.rules import Pass

from heatproof.errors import ModelError

from .relevance import stacked, through


class Ruled(torch.autograd.Function):
    """A layer whose backward is a rule of Zennit's.

    Attached as a hook, a rule also pays for the layer's own backward, keeps copies of what goes in, and keeps all of it
    until the end. Here a layer keeps its input, and gives it back as soon as its relevance is known.
    """

    @staticmethod
    def forward(ctx: Any, module: nn.Module, rule: Hook, *terms: Tensor) -> Tensor:
        """What the layer makes of one tensor, or of several as a stack."""
        ctx.module, ctx.rule = module, rule
        ctx.save_for_backward(*terms)
        return module.forward(_joined(terms))  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> Any:
        """The relevance of each term."""
        terms, module, rule = ctx.saved_tensors, ctx.module, ctx.rule
        values = _joined([term.detach() for term in terms])
        # What a rule's own forward hook stores; its signature differs between versions of Zennit.
        rule.stored_tensors.update(input=(values,), kwargs={})
        try:
            (shared,) = rule.backward(module, (values,), (relevance,))
        finally:
            rule.stored_tensors.clear()
        shares = [shared] if len(terms) == 1 else shared.unbind()
        return None, None, *(share.sum_to_size(term.shape) for term, share in zip(terms, shares))


class Propagation(fx.Interpreter):
    """One forward in which the layers named obey their rules in the backward; no module is touched meanwhile.

    With an ``entry`` the graph begins behind this layer, whose output is then found under ``entered``.
    """

    def __init__(self, network: fx.GraphModule, rules: Mapping[str, Hook], entry: str | None = None):
        super().__init__(network)
        self.rules, self.entry = {name: rule.copy() for name, rule in rules.items()}, entry
        self.entered: Tensor | None = None
        self.extra_traceback = False  # it rewrites the message of an error and imports sympy to do so

    def __call__(self, *arguments: Any) -> Any:
        """The outputs of the network."""
        return self.run(*arguments)

    def call_function(self, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call a function; terms of a sum stay apart until their relevance is asked for."""
        return arguments if target is stacked else super().call_function(target, arguments, keywords)

    def call_module(self, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call a module by its rule; without one, or with more than one input, its gradient is what it does."""
        module, rule = self.fetch_attr(target), self.rules.get(target)
        (first, *others) = (*arguments, *keywords.values())
        terms = first if isinstance(first, tuple) else (first,)
        if rule is None or others or not all(isinstance(term, Tensor) for term in terms):
            made = module(_joined(terms), *others) if isinstance(first, tuple) else module(*arguments, **keywords)
        elif isinstance(rule, Pass):
            made = _passed(target, first, _without_graph(module, _joined(terms)))
        else:
            made = Ruled.apply(module, rule, *terms)
        return self._entered(made) if target == self.entry else made

    def _entered(self, values: Tensor) -> Tensor:
        self.entered = values.detach().requires_grad_()
        return self.entered


def _joined(terms: Any) -> Tensor:
    return terms[0] if len(terms) == 1 else stacked(*terms)


def _passed(layer: str, source: Any, values: Tensor) -> Tensor:
    """The values, whose relevance is the source's; raises ``ModelError`` where they are of another shape."""
    if isinstance(source, tuple) or source.shape != values.shape:
        raise ModelError(
            f"rule pass cannot hold at layer {layer!r}, which adds terms or changes the shape; give it norm or epsilon."
        )
    return through(source, values)


@torch.no_grad()
def _without_graph(module: nn.Module, values: Tensor) -> Tensor:
    return module(values)  # type: ignore[no-any-return]
