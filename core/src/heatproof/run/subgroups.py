"""The subgroups of a run: which of its cases have which label, findings and attributes."""

from collections.abc import Iterable, Sequence
from typing import Any

from ..config.entries import Grouping
from ..plan.groups import Traits, grouped
from ..plan.task import Task
from ..results.store import Run
from ..results.subgroups import Subgroup


def subgroups(run: Run, tasks: Sequence[Task], by: Sequence[Grouping]) -> tuple[list[Subgroup], tuple[str, ...]]:
    """The subgroups of the cases of tasks, and a sentence for each entry of ``by`` that leaves cases in no group.

    Labels and findings come from the committed predictions; a finding counts if the annotations show it as one of the
    models prepares them. Raises ``DamagedUnit`` before a damaged unit is read.
    """
    datasets = {task.source.dataset.identity: task.source.dataset for task in tasks} if by else {}
    divided = []
    sentences = []
    for identity, dataset in datasets.items():
        traits = _traits(run, (task for task in tasks if task.source.dataset.identity == identity))
        for grouping in by:
            groups = grouped(grouping, dataset, traits)
            divided += [Subgroup(grouping.of, name, identity, frozenset(ids)) for name, ids in groups.items()]
            rest = len(traits) - len({id for ids in groups.values() for id in ids})
            if rest:
                sentences.append(f"by {grouping.of}: {rest} of {len(traits)} cases of {dataset.short} are in no group")
    return divided, tuple(sentences)


def _traits(run: Run, tasks: Iterable[Task]) -> dict[str, Traits]:
    """The traits of the cases of one dataset, united over its models."""
    traits: dict[str, Traits] = {}
    for task in tasks:
        if not run.has("predictions", task.prediction):
            continue
        table = run.table("predictions", task.prediction)
        for id, labels, findings in zip(table["case"], table["label"], table["findings"]):
            before = traits.get(id, Traits())
            traits[id] = Traits(_united(before.labels, labels), _united(before.findings, findings))
    return traits


def _united(*parts: Iterable[Any] | None) -> list[Any] | None:
    """The entries of lists, without repetition; None if all of them are unknown."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    return list(dict.fromkeys(entry for part in known for entry in part))


def forget_older(run: Run, tasks: Sequence[Task], by: Sequence[Grouping]) -> None:
    """Remove predictions that an earlier version stored without findings, if the run has subgroups."""
    keys = {task.prediction for task in tasks if by and run.has("predictions", task.prediction)}
    older = [key for key in sorted(keys) if "findings" not in run.table("predictions", key)]
    for key in older:
        run.remove("predictions", key)
    if older:
        run.say(f"predictions of an earlier version, without findings, are computed again: {len(older)} units")
