"""Attributes of samples from the columns of tables: numbers, or text as it is."""

import re
from collections.abc import Collection, Mapping

from heatproof.config.entries import FROM_SAMPLES
from heatproof.records import Attribute
from heatproof_cohorts.spelling import ABSENT
from heatproof_cohorts.tables import Row, plain_name

NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|[+-]?\.[0-9]+")


def attributes(row: Row, without: Collection[str] = ()) -> dict[str, Attribute]:
    """The columns of a row that have a value, by the names in the header, in its order.

    Columns are left out that occur twice, that have no name or that of something else (``label``, ``finding``), and
    those in ``without``; names match as those of tables do.
    """
    others = {plain_name(name) for name in ("", *FROM_SAMPLES, *without)}
    known = {name for name in row.header if row.header.count(name) == 1 and plain_name(name) not in others}
    pairs = ((name, attribute(text)) for name, text in zip(row.header, row.cells) if name in known)
    return {name: value for name, value in pairs if value is not None}


def attribute(text: str) -> Attribute | None:
    """Read a value as a whole number, a number or text; None for words by which tables say that there is none.

    >>> [attribute(text) for text in ("7", "7.5", "007", "left", "unknown")]
    [7, 7.5, '007', 'left', None]
    """
    if text.casefold() in ABSENT:
        return None
    if not NUMBER.fullmatch(text):
        return text
    value = float(text)
    return int(value) if value.is_integer() else value


def agreed(first: Mapping[str, Attribute], second: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """The attributes on which two rows of one sample agree."""
    return {name: value for name, value in first.items() if second.get(name) == value}
