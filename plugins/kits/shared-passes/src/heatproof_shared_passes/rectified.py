"""Computes rectified gradients: guided backpropagation and DeconvNet.

All rules of a batch share one forward pass. They do not share the forward pass of the plain gradient: its graph would
have to stay in memory for them and would double the memory of all later passes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from heatproof.batch import Batch, Request
from heatproof.errors import ModelError
from heatproof.passes import derivatives, leaf

from .rectification import RULES, ActPolicy, Rectifying, Rule, rectification


def request(rule: Rule, act_policy: ActPolicy = "all") -> Request:
    """The request with which an explainer announces its rule; announced rules share a forward pass in ``rectified``."""
    return ("rectified", act_policy, rule)


def rectified(batch: Batch, rule: Rule, act_policy: ActPolicy = "all") -> Tensor:
    """Compute the gradient of the images (n, c, *space) under a rule: guided backpropagation or DeconvNet.

    The rule acts on all activations, or with the policy ``relu_only`` on ReLU only. All rules among the batch's
    requests share one forward pass. Raises ``ModelError`` where a rule acts on no activation: the map would be the
    plain gradient.
    """
    rules = tuple(name for name in RULES if request(name, act_policy) in batch.requests)
    if rule not in rules:
        rules = (rule,)

    def compute() -> Mapping[Rule, Tensor]:
        parts = batch.pieced(lambda piece: _rectified(piece, rules, act_policy))
        return {rule: torch.cat([part[rule] for part in parts]) for rule in rules}

    return batch.once(("rectified", rules, act_policy), compute)[rule]


def _rectified(batch: Batch, rules: Sequence[Rule], act_policy: ActPolicy) -> Mapping[Rule, Tensor]:
    images = leaf(batch)
    cell = Rectifying(act_policy)
    maps: dict[Rule, Tensor] = {}
    with torch.enable_grad():
        logits, _ = batch.forward(images, cell=cell)
        scores = batch.pick(logits)
        for rule in rules:
            with cell.under(rule):
                (maps[rule],) = derivatives(batch, scores, [images], again=rule != rules[-1])
            require_rectified(batch, cell, rule, act_policy)
    return maps


def require_rectified(batch: Batch, cell: Rectifying, rule: Rule, act_policy: ActPolicy) -> None:
    """Raise ``ModelError`` where a rule acted on no activation in the last backward pass."""
    if rule == "gradient" or cell.rectified:
        return
    verdict = rectification(batch.model, act_policy)
    if verdict.level == "undefined":
        raise ModelError(f"{verdict.reason}.")
    kind = {"relu_only": "ReLU", "all": "activation"}[act_policy]
    raise ModelError(f"no {kind} of {batch.model.short} lies between the image and the output {batch.output!r}.")
