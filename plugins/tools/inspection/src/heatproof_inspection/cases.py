"""The cases that an inspector works on: a sample by the seed, their features, and their columns in tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heatproof.errors import DataError, near
from heatproof.model import Model
from heatproof.records import Array
from heatproof_inspectors.subject import Inspected, Subject

PIECE = 1024
"""Rows of features that are read at once."""
SEPARATOR = "; "


def drawn(subject: Subject, limit: int) -> Array:
    """Return the rows of at most ``limit`` cases, drawn by the seed without replacement, in their order."""
    count = len(subject.cases)
    if count <= limit:
        return np.arange(count)
    return np.sort(subject.generator("sample").choice(count, limit, replace=False))


def remark(subject: Subject, rows: Array) -> tuple[str, ...]:
    """Return the sentence that says of a sample how it was drawn; none for all cases."""
    if len(rows) == len(subject.cases):
        return ()
    return (f"A sample of {len(rows)} of {len(subject.cases)} cases, drawn by the seed {subject.seed}.",)


def features(subject: Subject, layer: str, rows: Array) -> Array:
    """Return the features (m, channel) float64 of some cases, read in pieces; ``rows`` (m,) ascend.

    Raises ``DataError`` for features that are not finite, and if those of all cases are equal.
    """
    stored = subject.features(layer)
    pieces = []
    for start in range(0, len(stored), PIECE):
        inside = rows[(rows >= start) & (rows < start + PIECE)]
        pieces.append(np.asarray(stored[start : start + PIECE], np.float64)[inside - start])
    values = np.concatenate(pieces)
    _require_finite(values, [subject.cases[row] for row in rows], layer)
    if len(values) > 1 and not np.ptp(values, axis=0).any():
        raise DataError(
            f"all {len(values)} cases have the same features at layer {layer!r}, so none is nearer than another; "
            "name another layer, or check that the network depends on its image."
        )
    return values


def _require_finite(values: Array, cases: Sequence[Inspected], layer: str) -> None:
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(broken):
        raise DataError(
            f"the features of {len(broken)} of {len(values)} cases at layer {layer!r} are not finite, first of "
            f"{cases[broken[0]].id}; leave these cases out, or check the weights of the network."
        )


def require_cases(rows: Array, least: int, purpose: str) -> None:
    """Raise ``DataError`` for fewer than ``least`` cases; ``purpose`` says what needs them, and what to lower."""
    if len(rows) < least:
        raise DataError(f"{purpose} needs at least {least} cases; there are {len(rows)}. Lower it, or give more cases.")


def row_of(subject: Subject, case: str | int) -> int:
    """Return the row of a case given by id or index; raises ``DataError`` for one that does not exist."""
    ids = [inspected.id for inspected in subject.cases]
    if case in ids:
        return ids.index(str(case))
    if isinstance(case, str):
        raise DataError(f"there is no case {case!r} among the {len(ids)} that are inspected; {near(case, ids)}")
    if not 0 <= case < len(ids):
        raise DataError(f"there is no case {case}; give an index below {len(ids)}, or an id.")
    return case


def columns(case: Inspected) -> Mapping[str, Any]:
    """Return the columns of a case in tables: id, label, decision, split and whether the decision is wrong."""
    return {
        "id": case.id,
        "label": SEPARATOR.join(case.labels),
        "decision": case.decision,
        "split": case.split,
        "wrong": case.wrong,
    }


def label_remark(cases: Sequence[Inspected]) -> tuple[str, ...]:
    """Return a sentence where the cases show no separation of classes: without labels, or with a single label."""
    labels = {case.labels for case in cases if case.labels}
    if not labels:
        return ("No case has a label.",)
    if len(labels) == 1:
        name = SEPARATOR.join(next(iter(labels)))
        return (f"All labelled cases have the label {name}, so no separation of classes can be seen.",)
    return ()


def targets_of(model: Model, target: int | str | None) -> dict[int, str]:
    """Return the target of a name or index, or all of them for None, with their names.

    An ordinal or regression head has one score for all grades, the ``logit``. Raises ``ModelError`` for an unknown one.
    """
    chosen = range(len(model.classes)) if target is None else [model.target(target)]
    if model.head in ("ordinal", "regression"):
        return {0: "logit"}
    return {int(index): model.classes[int(index)] for index in chosen}
