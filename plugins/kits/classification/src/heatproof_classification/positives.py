"""Names positive classes, and computes the support that a prediction gives them."""

from collections.abc import Collection, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from heatproof.errors import DataError, Undefined, near
from heatproof.records import Array, Prediction

Positive = Annotated[tuple[str, ...], Field(min_length=1)]
"""The setting of a metric that names its positive classes, at least one."""


def support(prediction: Prediction, names: Collection[str]) -> float:
    """Sum the probabilities of these classes in a prediction.

    A single output for several ordered classes grows with the class: it is the probability of the upper classes, and
    its complement that of the lower classes. Raises ``DataError`` for a class that the model does not have, and for
    classes in the middle, which a single output cannot separate.
    """
    values = prediction.probabilities
    positive = _positive(prediction.classes, names, len(values))
    if len(values) == len(positive):
        return float(values[positive].sum())
    return float(values[0] if positive[-1] else 1 - values[0])


def log_odds(prediction: Prediction, names: Collection[str]) -> float:
    """Compute a score in float64 that ranks predictions as ``support`` does, without its rounding.

    From logits: the log odds of the classes under a softmax, or of the mean of their sigmoids; a single output is its
    logit. Probabilities near 0 and 1 round to equal values, log odds do not. Returns ``support`` itself where the model
    reads its outputs in a way of its own. Raises ``DataError`` like ``support``, and ``Undefined`` where a softmax has
    no other class.
    """
    logits = np.asarray(prediction.logits, dtype=np.float64)
    single = prediction.head in ("ordinal", "regression") or len(logits) < len(prediction.classes)
    if prediction.head is None or (prediction.head == "softmax" and single):
        return support(prediction, names)
    positive = _positive(prediction.classes, names, 1 if single else len(logits))
    if single:
        return float(logits[0] if positive[-1] else -logits[0])
    if prediction.head == "softmax":
        if positive.all():
            raise Undefined(f"the model has no class besides {', '.join(names)}")
        shifted = logits - logits.max()
        return float(_logsumexp(shifted[positive]) - _logsumexp(shifted[~positive]))
    if len(names) == 1:
        return float(logits[positive][0])
    logs = [-np.logaddexp(0, -sign * logits[positive]) for sign in (1, -1)]
    return float(_logsumexp(logs[0]) - _logsumexp(logs[1]))


def _positive(classes: Sequence[str], names: Collection[str], outputs: int) -> Array:
    """Mark the positive classes (class,) bool; refuses unknown ones, and those that a single output cannot separate."""
    for name in names:
        if name not in classes:
            raise DataError(f"the model has no class {name!r}; {near(name, classes)}")
    positive = [name in names for name in classes]
    if outputs != len(classes) and sorted(positive) not in (positive, positive[::-1]):
        raise DataError(
            f"the model's single output for {len(classes)} ordered classes cannot tell {', '.join(names)} from the "
            f"others; give classes from one end as positive, such as [{', '.join(classes[len(classes) // 2 :])}]."
        )
    return np.array(positive)


def _logsumexp(values: Array) -> Array:
    return np.asarray(np.logaddexp.reduce(values))
