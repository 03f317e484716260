"""Losses of the classes of an image."""

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor
from torch.nn import functional

from heatproof_objectives.step import Step

Classification = Literal["bce", "cross_entropy"]


def cross_entropy(step: Step) -> Tensor:
    """Compute the mean cross-entropy of the classes, from one label per sample."""
    return functional.cross_entropy(_logits(step), step.labels())


def binary_cross_entropy(step: Step) -> Tensor:
    """Compute the mean binary cross-entropy over samples and classes; a sample may have several labels."""
    logits = _logits(step)
    return functional.binary_cross_entropy_with_logits(logits, step.indicators().to(logits))


CLASSIFICATIONS: Mapping[Classification, Callable[[Step], Tensor]] = {
    "bce": binary_cross_entropy,
    "cross_entropy": cross_entropy,
}
"""Name of a loss → the function that computes it."""


def _logits(step: Step) -> Tensor:
    """The logit of every class (n, class); two classes that share a sigmoid unit z have -z and z."""
    return step.batch.model.scores(step.batch.explained(step.outputs))
