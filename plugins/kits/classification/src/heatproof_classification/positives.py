"""Which classes are positive, and how far a prediction speaks for them."""

from collections.abc import Collection
from typing import Annotated

from pydantic import Field

from heatproof.errors import DataError, near
from heatproof.records import Prediction

Positive = Annotated[tuple[str, ...], Field(min_length=1)]
"""The setting of a metric that names the positive classes: at least one."""


def support(prediction: Prediction, names: Collection[str]) -> float:
    """How much a prediction speaks for these classes together: the sum of their probabilities.

    A single unit for several ordered classes grows with the class: it speaks for the upper ones, and its complement for
    the lower ones. Raises ``DataError`` for a class that the model has not, or one that a single unit cannot tell.
    """
    classes = prediction.classes
    values = prediction.probabilities
    for name in names:
        if name not in classes:
            raise DataError(f"the model has no class {name!r}; {near(name, classes)}")
    positive = [name in names for name in classes]
    if len(values) == len(classes):
        return float(values[positive].sum())
    if positive in (sorted(positive), sorted(positive, reverse=True)):
        return float(values[0] if positive[-1] else 1 - values[0])
    raise DataError(
        f"the model's single output for {len(classes)} ordered classes cannot tell {', '.join(names)} from the rest; "
        f"give classes from one end as positive, such as [{', '.join(classes[len(classes) // 2 :])}]."
    )
