"""The embedding by constraints, with the list of those that it satisfies."""

from typing import Annotated

import numpy as np
from pydantic import Field

from heatproof.component import Params
from heatproof.model import Model
from heatproof_inspectors.inspection import Inspection, Points
from heatproof_inspectors.inspector import Inspector
from heatproof_inspectors.subject import Subject

from .assembly import embedded
from .cases import SEPARATOR, columns, drawn, features, label_remark, remark, require_cases
from .drawing import scatter


class ConstraintEmbeddingParams(Params):
    """``neighbours`` of each case shall stay its nearest; of at most ``limit`` cases, drawn by the seed.

    ``margin`` is how much nearer they are wanted than others, relative to the median distance to the last of them, and
    ``steps`` are those of each descent.
    """

    layer: str = "last"
    neighbours: Annotated[int, Field(ge=1, le=50)] = 5
    limit: Annotated[int, Field(ge=3, le=2000)] = 500
    margin: Annotated[float, Field(gt=0, le=10)] = 0.1
    steps: Annotated[int, Field(ge=1, le=10_000)] = 200


class ConstraintEmbedding(Inspector[ConstraintEmbeddingParams]):
    """Embeds cases in a plane so that the k nearest neighbours of each are those in the features, and lists for which.

    The cases are divided at medians of principal components into parts of at most 2k + 2, which are embedded and
    joined rigidly. Then a squared hinge on the distances to neighbours and to others is descended.
    """

    def layers(self, model: Model) -> tuple[str, ...]:
        """Return the layer."""
        return (model.layer(self.params.layer),)

    def inspect(self, subject: Subject) -> Inspection:
        """Return points, and a table of the constraints; raises ``DataError``."""
        layer = subject.model.layer(self.params.layer)
        k = self.params.neighbours
        rows = drawn(subject, self.params.limit)
        require_cases(rows, k + 2, f"an embedding by {k} neighbours")
        result = embedded(features(subject, layer, rows), k, self.params.margin, self.params.steps)
        cases = [subject.cases[row] for row in rows]
        number = int(result.satisfied.sum())
        sentences = (
            f"For {number} of {len(rows)} cases ({number / len(rows):.1%}) the {k} nearest in the plane are those in "
            f"the features of layer {layer}; in the first two principal components for {result.by_components}.",
        )
        table = [
            {
                **columns(case), "x": float(position[0]), "y": float(position[1]), "satisfied": bool(satisfied),
                "neighbours": SEPARATOR.join(cases[other].id for other in np.flatnonzero(near)),
            }
            for case, position, satisfied, near in zip(
                cases, result.positions, result.satisfied, result.constraints.near
            )
        ]  # fmt: skip
        sampled = remark(subject, rows)
        meaning = f"The {k} nearest points are meant to be the nearest cases; other distances mean nothing."
        figure = scatter(
            result.positions, [str(row["label"]) for row in table], ~result.satisfied, ("1", "2"),
            f"Embedding by {k} neighbours, layer {layer}", "constraint not satisfied",
        )  # fmt: skip
        return Inspection(
            (*sentences, *sampled, *label_remark(cases)),
            {"constraints": table},
            {"constraints": figure},
            {"constraints": Points(result.positions, rows, ("1", "2"), " ".join([meaning, *sampled]))},
        )
