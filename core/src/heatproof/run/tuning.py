"""Fill settings that depend on heatmaps, such as thresholds, from the tuning split, for each combination."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..digests import digest
from ..errors import DataError
from ..metric import Case, Metric
from ..model import Model
from ..plan.chunks import chunks
from ..plan.plan import Plan
from ..plan.sample_cache import Cache, prepared
from ..plan.task import Combination, Source, Task
from ..records import Heatmap, read_only
from ..results.scores import name_of
from ..results.store import Run
from .execution import Observer
from .retry import forget_damaged
from .selection import Selection, filled_by, freeze, frozen_settings


@dataclass(frozen=True)
class _Demand:
    """A metric, its open settings filled, to tune for a combination, by its key in ``selection.yaml``."""

    key: str
    metric: Metric
    combination: Combination


@dataclass
class _Explained:
    """The cases of a tuning split with the heatmaps of one combination; skips and counts those without one."""

    run: Run
    tasks: Sequence[Task]
    combination: Combination
    cache: Cache
    read: int = 0
    unreadable: int = 0

    def __iter__(self) -> Iterator[Case]:
        self.read = self.unreadable = 0
        samples = prepared(self.cache)
        for task in self.tasks:
            dataset = task.source.dataset
            for unit in task.units:
                if unit.combination.key != self.combination.key:
                    continue
                maps = self.run.maps(unit.key)
                for row, entry in enumerate(self.run.meta("heatmaps", unit.key)["cases"]):
                    if entry["status"] != "valid":
                        self.unreadable += 1
                        continue
                    self.read += 1
                    sample = samples.sample(dataset, task.model, entry["id"])
                    yield Case(read_only(sample), heatmap=read_only(Heatmap(maps[row])), classes=dataset.classes)
        if not self.read:
            tried = f"tried: {self.unreadable}"
            raise DataError(
                f"no sample of the tuning split has a heatmap by {self.combination.explainer.short} ({tried})"
            )


def tuning_tasks(plan: Plan, contents: Callable[..., str]) -> Iterator[Task]:
    """The tasks that explain the tuning splits; none if no metric fills settings from heatmaps.

    ``contents`` digests the files of samples, as ``Contents.of``.
    """
    if not any(metric.untuned for metric in plan.metrics):
        return
    sources = {source.dataset.identity: source for source in plan.tuning}
    jobs: dict[tuple[str, str], tuple[Source, Model, dict[str, Combination]]] = {}
    for source, model, combinations in plan.jobs():
        tuning = sources[source.dataset.identity]
        _, _, items = jobs.setdefault((source.dataset.identity, model.identity), (tuning, model, {}))
        items.update({item.key: replace(item, source=tuning) for item in combinations})
    for tuning, model, items in jobs.values():
        yield from chunks(plan.config, tuning, model, list(items.values()), contents, {}, ())


def tune(
    plan: Plan, selection: Selection, run: Run, cache: Cache, tasks: Sequence[Task],
    compute: Callable[[Sequence[Task]], object], observer: Observer,
) -> Selection:  # fmt: skip
    """Fill every setting that depends on heatmaps, from ``selection.yaml`` if it is frozen there.

    Otherwise ``tasks``, which explain the tuning splits, are computed, and their heatmaps are read from the store.
    """
    demands = list(_demands(plan, selection, cache))
    if not demands:
        return selection
    frozen = frozen_settings(run)
    missing = {demand.key: demand for demand in demands if demand.key not in frozen}

    def complete() -> None:
        compute(tasks)
        for number, (key, demand) in enumerate(missing.items()):
            observer.step(f"tuning settings: {number} of {len(missing)} combinations")
            frozen[key] = _entry(demand, _Explained(run, tasks, demand.combination, cache))

    if missing:
        observer.stage("tuning settings on heatmaps of the tuning split")
        forget_damaged(run, tasks)
        run.repairing(complete)
        freeze(run, frozen)
    selection = replace(selection, keys=selection.keys | {demand.key for demand in demands})
    return _tuned(selection, demands, {demand.key: frozen[demand.key]["filled"] for demand in demands})


def _demands(plan: Plan, selection: Selection, cache: Cache) -> Iterator[_Demand]:
    """The metrics with settings that depend on heatmaps, by combination."""
    contents = prepared(cache).contents
    for source, model, combinations in plan.jobs():
        dataset = source.dataset
        for metric in plan.filled(selection.fitted, source, model):
            if metric.untuned:
                content = contents.of(dataset, *dataset.ids(dataset.tuning))
                for item in combinations:
                    yield _Demand(digest([metric.identity, item.key, content]), metric, item)


def _entry(demand: _Demand, cases: _Explained) -> dict[str, Any]:
    """The entry of ``selection.yaml`` for a metric tuned on the heatmaps of a combination."""
    metric = demand.metric
    combination = demand.combination
    dataset = combination.source.dataset
    filled = filled_by(metric, metric.untuned, dataset, lambda: metric.tune(cases))
    return {
        "metric": metric.name, "dataset": dataset.name, "grid": combination.model.grid, "split": dataset.tuning,
        "heatmaps": name_of(combination.describe()), "samples": cases.read, "unreadable": cases.unreadable,
        "filled": filled,
    }  # fmt: skip


def _tuned(selection: Selection, demands: Sequence[_Demand], filled: Mapping[str, Mapping[str, Any]]) -> Selection:
    """The selection with the tuned metrics; ``filled``: key of a demand → the values of its settings."""
    tuned: dict[tuple[str, str], Metric] = {}
    families: dict[str, str] = {}
    unfilled = dict(selection.unfilled)
    for demand in demands:
        identity = demand.metric.identity
        metric = demand.metric.with_(**filled[demand.key])
        tuned[identity, demand.combination.key] = metric
        families[metric.identity] = identity
        unfilled[metric.identity] = selection.unfilled.get(identity, demand.metric)
    return replace(selection, tuned=tuned, families=families, unfilled=unfilled)
