"""Runs a network forward such that its backward pass propagates relevance by the rules of its layers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from zennit.core import Hook
from zennit.rules import Pass

from heatproof.errors import ModelError

from .relevance import redirected, stacked


class Ruled(torch.autograd.Function):
    """A layer with a rule of Zennit as its backward pass.

    A rule that is attached as a hook also computes the layer's usual backward pass, copies the inputs, and keeps all
    of it until the end. This function keeps only the input, and frees it once the relevance of the layer is computed.
    """

    @staticmethod
    def forward(ctx: Any, module: nn.Module, rule: Hook, *terms: Tensor) -> Tensor:
        """The layer's output for one tensor, or for a stack of several terms."""
        ctx.module = module
        ctx.rule = rule
        ctx.save_for_backward(*terms)
        return module.forward(_single_input(terms))  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> Any:
        """The relevance of each term."""
        terms = ctx.saved_tensors
        rule = ctx.rule
        values = _single_input([term.detach() for term in terms])
        # The rule's forward hook would store these; its signature differs between versions of Zennit.
        rule.stored_tensors.update(input=(values,), kwargs={})
        try:
            (result,) = rule.backward(ctx.module, (values,), (relevance,))
        finally:
            rule.stored_tensors.clear()
        if len(terms) == 1:
            shares = [result]
        else:
            shares = result.unbind()
        return None, None, *(share.sum_to_size(term.shape) for term, share in zip(terms, shares))


class Propagation(fx.Interpreter):
    """A forward pass over a relevance network in which layers with a rule use it in the backward pass.

    No module is modified. With a ``first_layer`` the autograd graph begins behind this layer, and ``first_output`` is
    its output.
    """

    def __init__(self, network: fx.GraphModule, rules: Mapping[str, Hook], first_layer: str | None = None):
        super().__init__(network)
        self.rules = {name: rule.copy() for name, rule in rules.items()}
        self.first_layer = first_layer
        self.first_output: Tensor | None = None
        self.extra_traceback = False  # it rewrites the message of an error and imports sympy to do so

    def __call__(self, *arguments: Any) -> Any:
        """The outputs of the network."""
        return self.run(*arguments)

    def call_function(self, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call a function, except for ``stacked``: the terms of a sum are stacked only when the sum is computed."""
        if target is stacked:
            return arguments
        return super().call_function(target, arguments, keywords)

    def call_module(self, target: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call a module with its rule; a module with several inputs or without a rule propagates its gradient."""
        module = self.fetch_attr(target)
        rule = self.rules.get(target)
        inputs = (*arguments, *keywords.values())
        first = inputs[0]
        terms = first if isinstance(first, tuple) else (first,)
        has_single_input = len(inputs) == 1 and all(isinstance(term, Tensor) for term in terms)
        if rule is not None and has_single_input:
            output = _call_with_rule(target, module, rule, first, terms)
        elif isinstance(first, tuple):
            output = module(_single_input(terms), *inputs[1:])
        else:
            output = module(*arguments, **keywords)
        if target != self.first_layer:
            return output
        self.first_output = output.detach().requires_grad_()
        return self.first_output


def _call_with_rule(name: str, module: nn.Module, rule: Hook, first: Any, terms: tuple[Tensor, ...]) -> Tensor:
    """The output of a layer; its backward pass is the rule."""
    if not isinstance(rule, Pass):
        return Ruled.apply(module, rule, *terms)  # type: ignore[no-any-return]
    with torch.no_grad():
        output: Tensor = module(_single_input(terms))
    if isinstance(first, tuple) or first.shape != output.shape:
        raise ModelError(
            f"rule pass cannot apply to layer {name!r}, which adds terms or changes the shape; use norm or epsilon."
        )
    return redirected(first, output)


def _single_input(terms: Any) -> Tensor:
    """The only term, or all terms as one stack."""
    if len(terms) == 1:
        return terms[0]  # type: ignore[no-any-return]
    return stacked(*terms)
