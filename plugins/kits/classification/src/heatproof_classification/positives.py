"""Names positive classes and sums the probabilities that a prediction gives them."""

from collections.abc import Collection
from typing import Annotated

from pydantic import Field

from heatproof.errors import DataError, near
from heatproof.records import Prediction

Positive = Annotated[tuple[str, ...], Field(min_length=1)]
"""The setting of a metric that names its positive classes, at least one."""


def support(prediction: Prediction, names: Collection[str]) -> float:
    """Sum the probabilities of these classes in a prediction.

    A single output for several ordered classes grows with the class: it is the probability of the upper classes, and
    its complement that of the lower classes. Raises ``DataError`` for a class that the model does not have, and for
    classes in the middle, which a single output cannot separate.
    """
    classes = prediction.classes
    values = prediction.probabilities
    for name in names:
        if name not in classes:
            raise DataError(f"the model has no class {name!r}; {near(name, classes)}")
    positive = [name in names for name in classes]
    if len(values) == len(classes):
        return float(values[positive].sum())
    if positive == sorted(positive):
        return float(values[0])
    if positive == sorted(positive, reverse=True):
        return float(1 - values[0])
    raise DataError(
        f"the model's single output for {len(classes)} ordered classes cannot tell {', '.join(names)} from the others; "
        f"give classes from one end as positive, such as [{', '.join(classes[len(classes) // 2 :])}]."
    )
