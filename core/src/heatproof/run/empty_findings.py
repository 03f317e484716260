"""The findings that annotations show, and those that no annotation shows, as when a mask is read as empty."""

from collections import Counter
from collections.abc import Iterable, Sequence

from ..plan.task import Task
from ..records import Sample
from ..results.store import Run


def shown_findings(sample: Sample) -> list[str] | None:
    """The findings that a prepared sample's annotations show, in the order of the annotations; None without any."""
    if not sample.annotations:
        return None
    shown = {annotation.finding for annotation in sample.annotations if annotation.values.any()}
    return [finding for finding in sample.findings() if finding in shown]


def annotated(samples: Iterable[Sample]) -> dict[str, list[int]]:
    """Finding → the number of prepared samples that were examined for it, and of those that show it."""
    examined: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    for sample in samples:
        examined.update(sample.findings())
        shown.update(shown_findings(sample) or ())
    return {finding: [count, shown[finding]] for finding, count in examined.items()}


def empty_findings(run: Run, tasks: Sequence[Task]) -> tuple[str, ...]:
    """A sentence for each finding of a dataset that no prepared sample of the run shows."""
    examined: Counter[tuple[str, str]] = Counter()
    shown: Counter[tuple[str, str]] = Counter()
    counted = set()
    for task in tasks:
        part = (task.source.key, *task.ids)
        if part in counted or not run.has("predictions", task.prediction):
            continue
        counted.add(part)
        for finding, (samples, showing) in run.meta("predictions", task.prediction).get("annotated", {}).items():
            examined[task.source.dataset.short, finding] += samples
            shown[task.source.dataset.short, finding] += showing
    return tuple(
        f"every annotation of {finding} in {dataset} is empty ({count} samples); if that is not what you expect, look "
        "at one of its masks"
        for (dataset, finding), count in examined.items()
        if not shown[dataset, finding]
    )
