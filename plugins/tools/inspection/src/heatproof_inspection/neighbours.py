"""The nearest neighbours of cases: outliers far from all others, and the labels that neighbours vote for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from heatproof.records import Array
from heatproof_inspectors.inspection import Inspection
from heatproof_inspectors.subject import Inspected, Subject

from .cases import SEPARATOR, columns, label_remark, remark, require_cases
from .drawing import COLOURS, MUTED, new_figure, plain
from .projection import METHODS, Planar, ProjectionParams

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Labels = tuple[str, ...]


class NeighboursParams(ProjectionParams):
    """``k`` nearest neighbours of each case, in the ``features``, or in the ``plane`` of a projection's settings."""

    k: Annotated[int, Field(ge=1, le=1000)] = 10
    space: Literal["features", "plane"] = "features"


@dataclass(frozen=True)
class Vote:
    """What the neighbours of labelled cases say: ``shares`` (m,) have the case's label, ``winners`` are most frequent.

    ``chance`` is the mean share that neighbours drawn at random would have.
    """

    shares: Array
    winners: tuple[str, ...]
    chance: float

    @property
    def purity(self) -> float:
        """The mean share."""
        return float(self.shares.mean())


def nearest(values: Array, k: int) -> tuple[Array, Array]:
    """Return the distances (n, k) to the nearest other rows of values (n, channel), and their indices (n, k)."""
    from sklearn.neighbors import NearestNeighbors

    distances, indices = NearestNeighbors(n_neighbors=k).fit(values).kneighbors()
    return distances, indices


def vote(labels: Sequence[Labels], indices: Array) -> Vote:
    """Return what neighbours (n, k) say of the labels of n cases; several labels agree if they share one.

    Of equally frequent labels the first by name wins.
    """
    shares = [_share(labels[row], [labels[other] for other in others]) for row, others in enumerate(indices)]
    winners = [_winner([labels[other] for other in others]) for others in indices]
    sizes = Counter(labels)
    total = len(labels)
    expected = sum(
        count * (sum(sizes[other] for other in sizes if set(label) & set(other)) - 1)
        for label, count in sizes.items()
    )  # fmt: skip
    return Vote(np.array(shares), tuple(winners), expected / (total * (total - 1)))


def _share(label: Labels, others: Sequence[Labels]) -> float:
    return sum(bool(set(label) & set(other)) for other in others) / len(others)


def _winner(others: Sequence[Labels]) -> str:
    counts = Counter(name for other in others for name in other)
    return min(counts, key=lambda name: (-counts[name], name))


class Neighbours(Planar[NeighboursParams]):
    """Ranks outliers by the mean distance to their k nearest cases, and lets the k nearest vote for a label."""

    def inspect(self, subject: Subject) -> Inspection:
        """Return the ranking of all cases, and the votes of the labelled ones; raises ``DataError``."""
        rows, values, space = self._positions(subject)
        cases = [subject.cases[row] for row in rows]
        k = self.params.k
        require_cases(rows, k + 1, f"k = {k}")
        distances, _ = nearest(values, k)
        outliers = _ranked(cases, distances.mean(axis=1))
        first = outliers[0]
        median = float(np.median(distances.mean(axis=1)))
        sentences = (
            f"The {k} nearest cases of each of {len(rows)}, in {space}.",
            *remark(subject, rows),
            f"Farthest from its neighbours is {first['id']}: its mean distance to them is {first['distance']:.3g}, the "
            f"median of all {median:.3g}.",
        )  # fmt: skip
        tables: dict[str, Sequence[Mapping[str, Any]]] = {"outliers": outliers}
        figures = {"outliers": _outlier_figure(outliers, k)}
        texts, votes = self._votes(cases, values)
        if votes:
            tables["votes"] = votes
        return Inspection((*sentences, *texts), tables, figures)

    def _positions(self, subject: Subject) -> tuple[Array, Array, str]:
        if self.params.space == "features":
            rows, values = self.values(subject)
            return rows, values, f"the features of layer {subject.model.layer(self.params.layer)}"
        plane = self.plane(subject)
        return plane.rows, plane.positions, f"the plane of {METHODS[self.params.method]}"

    def _votes(self, cases: Sequence[Inspected], values: Array) -> tuple[tuple[str, ...], list[Mapping[str, Any]]]:
        """Sentences and rows of the vote among labelled cases."""
        labelled = [row for row, case in enumerate(cases) if case.labels]
        k = self.params.k
        texts = label_remark(cases)
        if not labelled:
            return texts, []
        if len(labelled) <= k:
            return (*texts, f"Only {len(labelled)} cases have labels, too few for a vote of {k} neighbours."), []
        result = vote([cases[row].labels for row in labelled], nearest(values[labelled], k)[1])
        text = (
            f"On average {result.purity:.1%} of the {k} nearest labelled cases have the label of the case; "
            f"{result.chance:.1%} would by chance."
        )
        rows = [
            {**columns(cases[row]), "share": float(share), "vote": winner}
            for row, share, winner in zip(labelled, result.shares, result.winners)
        ]
        against = sum(row["vote"] not in str(row["label"]).split(SEPARATOR) for row in rows)
        outvoted = f"For {against} of {len(rows)} labelled cases the neighbours vote for another label."
        return (*texts, text, outvoted), sorted(rows, key=lambda row: (row["share"], row["id"]))


def _ranked(cases: Sequence[Inspected], distances: Array) -> list[dict[str, Any]]:
    """Rows in descending order of distance."""
    order = sorted(range(len(cases)), key=lambda row: (-distances[row], cases[row].id))
    return [
        {"rank": rank + 1, **columns(cases[row]), "distance": float(distances[row])} for rank, row in enumerate(order)
    ]


def _outlier_figure(outliers: Sequence[Mapping[str, Any]], k: int) -> "Figure":
    figure = new_figure(7, 3.5)
    axes = figure.add_subplot()
    axes.plot([row["rank"] for row in outliers], [row["distance"] for row in outliers], color=COLOURS[0], marker=".")
    axes.axhline(float(np.median([row["distance"] for row in outliers])), color=MUTED, linestyle=(0, (5, 3)), lw=1)
    plain(axes)
    axes.set_xlabel("rank of the case")
    axes.set_ylabel(f"mean distance to the {k} nearest")
    axes.set_title("Distances to neighbours; dashed: the median", fontsize=10)
    return figure
