"""How many cases of a run have no value, and which combinations have none at all."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..plan.task import Task
from ..results.scores import Cases, name_of
from ..results.store import Run
from .retry import heatmap_cases

FAULTS = ("failed", "invalid")


@dataclass(frozen=True)
class Validity:
    """Cases without a value, counted for each combination and metric.

    ``failures`` are failed or invalid in some measure, ``ranking`` of them in the ranking one, as the tables count.
    ``empty`` names the combinations without a valid case; ``nothing`` says why there is no other, if so.
    """

    failures: int
    ranking: int
    empty: tuple[str, ...]
    nothing: str


def validity(run: Run, tasks: Sequence[Task], cases: Sequence[Cases]) -> Validity:
    """Count the cases of a run's tables, and of the heatmaps that no metric scores."""
    unscored = [heatmap_cases(run, unit.key) for task in tasks for unit in task.units if not unit.metrics]
    faulty = sum(_faults(case["status"] for case in heatmaps) for heatmaps in unscored)
    failures = sum(_faults(entry.overall) for entry in cases) + faulty
    ranking = sum(_faults(entry.statuses.get(entry.scored.metric.primary, entry.overall)) for entry in cases) + faulty
    empty = tuple(map(_sentence, (entry for entry in cases if not entry.valid)))
    compared = [entry for entry in cases if not entry.scored.baseline] or cases
    nothing = ""
    if compared and not any(entry.valid for entry in compared):
        nothing = _commonest([reason for entry in compared for reason in entry.reasons])
    elif not cases and any(unscored) and not any(case["status"] == "valid" for part in unscored for case in part):
        nothing = _commonest([case["reason"] for part in unscored for case in part])
    return Validity(failures, ranking, empty, nothing)


def _faults(statuses: Iterable[str]) -> int:
    return int(np.isin(list(statuses), FAULTS).sum())


def _sentence(cases: Cases) -> str:
    columns = cases.scored.columns
    subject = f"{cases.scored.name} of {name_of(columns)} on {columns['dataset']}, split {columns['split']}"
    return f"{subject}: {_commonest(cases.reasons)}"


def _commonest(reasons: Sequence[str]) -> str:
    """The commonest of some reasons, with its count."""
    reason, count = Counter(reason or "none was given" for reason in reasons).most_common(1)[0]
    return f"none of {len(reasons)} cases has a value; the commonest reason, of {count}: {reason.rstrip('.')}"
