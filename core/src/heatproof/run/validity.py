"""How many cases of a run have no value, and which combinations have none at all."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    units = [unit.key for task in tasks for unit in task.units if not unit.metrics]
    unscored = [case for key in units for case in heatmap_cases(run, key)]
    faulty = _faults(case["status"] for case in unscored)
    failures = sum(_faults(entry.overall) for entry in cases) + faulty
    ranking = sum(_faults(entry.statuses.get(entry.scored.metric.primary, entry.overall)) for entry in cases) + faulty
    compared = [entry for entry in cases if not entry.scored.baseline] or cases
    reasons = [reason for entry in compared for reason in entry.reasons]
    valid = any(entry.valid for entry in compared)
    if not cases:
        reasons = [case["reason"] for case in unscored]
        valid = any(case["status"] == "valid" for case in unscored)
    nothing = _commonest(reasons) if reasons and not valid else ""
    return Validity(failures, ranking, tuple(_sentence(entry) for entry in cases if not entry.valid), nothing)


def _faults(statuses: Iterable[str]) -> int:
    return sum(status in FAULTS for status in statuses)


def _sentence(cases: Cases) -> str:
    columns = cases.scored.columns
    subject = f"{cases.scored.name} of {name_of(columns)} on {columns['dataset']}, split {columns['split']}"
    return f"{subject}: {_commonest(cases.reasons)}"


def _commonest(reasons: Sequence[str]) -> str:
    """The commonest of some reasons, with its count."""
    reason, count = Counter(reason or "none was given" for reason in reasons).most_common(1)[0]
    return f"none of {len(reasons)} cases has a value; the commonest reason, of {count}: {reason.rstrip('.')}"
