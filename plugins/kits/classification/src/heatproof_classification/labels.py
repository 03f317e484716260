"""Translates the labels of a case into class indices of the model; classes are matched by name."""

import numpy as np

from heatproof.errors import DataError, Undefined
from heatproof.metric import Case


def labels_of(case: Case) -> tuple[int, ...]:
    """Translate the sample's labels into indices of the prediction's classes.

    Of several labels those that the model has no class for are left out: they say nothing about its classes. Raises
    ``Undefined`` where the sample has no label, or a single one without a class of the model, and ``DataError`` for a
    label outside the dataset's classes.
    """
    assert case.prediction is not None
    if case.sample.label is None:
        raise Undefined("the sample has no label")
    names = [_class_name(case, int(index)) for index in np.atleast_1d(case.sample.label)]
    known = [name for name in names if name in case.prediction.classes]
    if not known and not np.ndim(case.sample.label):
        raise Undefined(f"the model has no class {names[0]!r}")
    return tuple(case.prediction.classes.index(name) for name in known)


def label_of(case: Case) -> int:
    """Translate the sample's only label like ``labels_of``; raises ``Undefined`` for several labels, too."""
    if case.sample.label is not None and np.ndim(case.sample.label):
        raise Undefined("the sample has no single label")
    return labels_of(case)[0]


def _class_name(case: Case, index: int) -> str:
    if not 0 <= index < len(case.classes):
        count = len(case.classes)
        raise DataError(
            f"label {index} of {case.sample.id} is outside the dataset's {count} classes; allowed: 0 to {count - 1}."
        )
    return case.classes[index]
