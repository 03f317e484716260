"""What an inspector returns: sentences, tables, figures and maps of points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from heatproof.records import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Points:
    """Cases as points of a plane: ``positions`` (m, 2), and ``rows`` (m,), the indices of the cases.

    ``axes`` name the two coordinates; ``remark`` says what the distances mean, and of a sample of the cases which.
    """

    positions: Array
    rows: Array
    axes: tuple[str, str] = ("1", "2")
    remark: str = ""


@dataclass(frozen=True)
class Inspection:
    """The result of an inspector.

    ``sentences``: what it shows, one after the other, each with its number. ``tables``: name → rows with equal keys,
    written as CSV. ``figures``: name → a figure of matplotlib, written as PNG, SVG and PDF; each has a table of the
    same name with its numbers. ``points``: name → cases in a plane, which the page shows to be explored.
    """

    sentences: tuple[str, ...]
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    figures: "Mapping[str, Figure]" = field(default_factory=dict)
    points: Mapping[str, Points] = field(default_factory=dict)
