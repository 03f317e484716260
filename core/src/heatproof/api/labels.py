"""Labels of a caller: indices, names, or one column per class."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DataError, near
from ..model import is_other_name
from ..records import Label
from .layout import array_of


def labels_of(values: Sequence[Any], classes: Sequence[str]) -> tuple[Label, ...]:
    """The labels of all images as indices of ``classes``; tuples where some image has several or none of them.

    A value is an index, a name, None, a list of them, or one 0 or 1 per class. Raises ``DataError`` for any other.
    """
    values = [None if _is_missing(value) else value for value in values]
    columns = [_columns(value, classes) for value in values]
    lists = [value for value, column in zip(values, columns) if column is None and isinstance(value, (list, tuple))]
    if lists and any(column is not None for column in columns):
        raise DataError(
            f"some labels are one 0 or 1 per class and some are lists of classes (seen: {lists[0]!r}), which cannot be "
            "told apart; give names of classes, or one 0 or 1 per class for every image."
        )
    several = any(column is not None and sum(column) != 1 for column in columns)
    labels: list[Label] = []
    for index, (value, column) in enumerate(zip(values, columns)):
        if column is not None:
            present = tuple(int(number) for number in np.flatnonzero(column))
            labels.append(present if several else present[0])
        elif isinstance(value, (list, tuple)):
            labels.append(tuple(_index(entry, classes, index) for entry in value))
        else:
            labels.append(None if value is None else _index(value, classes, index))
    return tuple(labels)


def _is_missing(value: Any) -> bool:
    """Whether a value is None or, as pandas and numpy write it, NaN."""
    return value is None or (isinstance(value, (float, np.floating)) and bool(np.isnan(value)))


def _columns(value: Any, classes: Sequence[str]) -> list[int] | None:
    """A value of one 0 or 1 per class; None for a value of another form."""
    if value is None or isinstance(value, str) or len(classes) < 2 or np.ndim(value) != 1 or len(value) != len(classes):
        return None
    if any(isinstance(entry, str) for entry in value):
        return None
    column = array_of(value)
    return [int(entry) for entry in column] if np.isin(column, (0, 1)).all() else None


def _index(value: Any, classes: Sequence[str], position: int) -> int:
    if isinstance(value, str):
        if value in classes:
            return list(classes).index(value)
        raise DataError(
            f"the label {value!r} of image {position} is none of the network's classes; give classes=[…], the names "
            f"of its outputs in their order ({near(value, classes)})."
        )
    array = array_of(value)
    if array.size != 1 or array.reshape(-1)[0] != int(array.reshape(-1)[0]):
        raise DataError(
            f"the label {value!r} of image {position} is no class; give an index below {len(classes)}, a name, None, "
            "or one 0 or 1 per class."
        )
    index = int(array.reshape(-1)[0])
    if is_other_name(index, classes):
        raise DataError(
            f"the label {index} of image {position} is an index and the name of another class; give the names as "
            f"texts, such as {str(index)!r} (classes by index: {', '.join(classes)})."
        )
    if not 0 <= index < len(classes):
        raise DataError(f"the label {index} of image {position} is outside the {len(classes)} classes.")
    return index
