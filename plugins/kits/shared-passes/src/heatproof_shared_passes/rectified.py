"""Gradients of which only positive parts pass activations: guided backpropagation and DeconvNet.

All rules of a batch share one forward. It is not that of the plain gradient: kept for them, it would double the memory
of all passes that follow.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from heatproof.batch import Batch, Request
from heatproof.errors import ModelError
from heatproof.passes import derivatives, leaf

from .rectification import RULES, ActPolicy, Rectifying, Rule, rectification


def request(rule: Rule, act_policy: ActPolicy = "all") -> Request:
    """What an explainer names among its requests, so that ``rectified`` takes its rule with the others."""
    return ("rectified", act_policy, rule)


def rectified(batch: Batch, rule: Rule, act_policy: ActPolicy = "all") -> Tensor:
    """The gradient of the images (n, c, *space) under a rule: guided backpropagation or DeconvNet.

    ``act_policy`` says which activations the rule acts on: all of them, or ReLU only. The rules among the batch's
    requests share one forward. Raises ``ModelError`` where one would act on nothing, since the map would silently be
    the plain gradient.
    """
    planned = tuple(name for name in RULES if request(name, act_policy) in batch.requests)
    rules = planned if rule in planned else (rule,)

    def compute() -> Mapping[Rule, Tensor]:
        parts = batch.pieced(lambda piece: _rectified(piece, rules, act_policy))
        return {rule: torch.cat([part[rule] for part in parts]) for rule in rules}

    return batch.once(("rectified", rules, act_policy), compute)[rule]


def _rectified(batch: Batch, rules: Sequence[Rule], act_policy: ActPolicy) -> Mapping[Rule, Tensor]:
    images, cell = leaf(batch), Rectifying(act_policy)
    found = {}
    with torch.enable_grad():
        logits, _ = batch.forward(images, cell=cell)
        scores = batch.pick(logits)
        for rule in rules:
            with cell.under(rule):
                (found[rule],) = derivatives(batch, scores, [images], again=rule != rules[-1])
            require_rectified(batch, cell, rule, act_policy)
    return found


def require_rectified(batch: Batch, cell: Rectifying, rule: Rule, act_policy: ActPolicy) -> None:
    """Raise ``ModelError`` where a rule acted on nothing in the backward pass before."""
    if rule != "gradient" and not cell.rectified:
        verdict = rectification(batch.model, act_policy)
        kind = "ReLU" if act_policy == "relu_only" else "activation"
        unreached = f"no {kind} of {batch.model.short} lies between the image and the output {batch.output!r}"
        raise ModelError(f"{verdict.reason if verdict.level == 'undefined' else unreached}.")
