"""A run from its config to its tables: plan, fill open settings, run what is missing, write the tables."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..config.settings import RunConfig, resolved
from ..config.yamlfile import written
from ..errors import DataError
from ..plan import splits
from ..plan.plan import Plan, make_plan
from ..plan.sample_cache import configured
from ..plan.task import Skipped, Task
from ..registry.catalog import Catalog
from ..results.finished import Results
from ..results.scores import cases_of, scored_combinations, write_csv, write_scores
from ..results.store import Run, write_json, write_text
from ..results.summary import SummarySettings, results
from .execution import Observer, device_of, execute, missing, settled_threads, weight
from .memory import most_rows
from .provenance import provenance
from .retry import count_failures, forget_failures
from .selection import Selection, fill


@dataclass
class Finished:
    """The outcome of a run, or of a shard of it."""

    folder: Path
    units: int
    complete: bool
    failures: int
    skipped: tuple[Skipped, ...]
    summary: list[dict[str, Any]]
    rejected: tuple[str, ...] = ()
    pages: Sequence[Path] = ()
    faults: Sequence[str] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def run(
    config: RunConfig, catalog: Catalog, observer: Observer | None = None, shard: tuple[int, int] = (1, 1),
    retry: bool = False, strict: bool = False,
) -> Finished:  # fmt: skip
    """Run everything that a config asks for, or resume it.

    ``shard`` (i, n) runs the i-th of n parts of the tasks; ``retry`` computes units with failed cases again;
    ``strict`` refuses datasets with rejected files.
    """
    observer = observer or Observer()
    start = time.perf_counter()
    observer.stage("planning")
    plan = make_plan(config, catalog)
    rejected = _rejected(plan)
    if strict and rejected:
        raise DataError(f"{rejected[0].rstrip('.')} (--strict); see `heatproof data check`, and mend or remove them.")
    most = most_rows(plan)
    store = _opened(plan, rejected, shard)
    observer.stage("filling open settings from the tuning split")
    selection = fill(plan, store, configured(config.cache, config.cache_limit))
    threads = settled_threads(config, store)
    tasks = _tasks(plan, selection, most)
    shared = tasks[shard[0] - 1 :: shard[1]]
    if retry:
        store.log(f"retry: units removed, since cases had failed: {forget_failures(store, shared)}")
    catalog.call("heatproof_run_started", folder=store.folder, config=resolved(config))
    seconds = execute(shared, config.executor, threads, store, catalog, observer)
    observer.stage("writing tables")
    finished = _finish(store, plan, tasks, selection, threads)
    finished.rejected = rejected
    finished.seconds = {**seconds, "wall": time.perf_counter() - start}
    if finished.complete:
        observer.stage("writing the report")
        finished.pages, finished.faults = Results(store.folder, catalog).announce()
        for fault in finished.faults:
            store.log(fault)
    spent = ", ".join(f"{name} {value:.2f}" for name, value in sorted(finished.seconds.items()))
    store.log(f"done: units {finished.units}, failed cases {finished.failures}; seconds {spent}")
    return finished


def _rejected(plan: Plan) -> tuple[str, ...]:
    """A sentence for each tally of rejected files."""
    names = {source.dataset.identity: source.dataset.short for source, _ in plan.pairs}
    sentences = []
    for identity, tallies in plan.rejected.items():
        for tally in tallies:
            examples = tally.example and f", such as {tally.example}"
            sentences.append(f"{tally.what} in {names[identity]}: {tally.count}{examples}")
    return tuple(sentences)


def _opened(plan: Plan, rejected: Sequence[str], shard: tuple[int, int]) -> Run:
    """Create the folder of the run, and write its config and splits."""
    store = Run.create(plan.config.output)
    store.sweep()
    write_text(store.folder / "config.yaml", written(resolved(plan.config)))
    store.log(f"heatproof run: combinations {len(plan.combinations)}, shard {shard[0]} of {shard[1]}")
    write_csv(store, "splits.csv", splits.COLUMNS, splits.rows([source for source, _ in plan.pairs], plan.tuning))
    for sentence in rejected:
        store.log(f"rejected: {sentence}")
    return store


def _tasks(plan: Plan, selection: Selection, most: Mapping[str, int]) -> list[Task]:
    """The tasks with device, cache, and the images per pass if configured; ``most`` are those that fit by model."""
    config = plan.config
    device = device_of(config)
    cache = configured(config.cache, config.cache_limit)
    rows = None if config.rows == "auto" else int(config.rows)
    settled = partial(replace, device=device, cache=cache, rows=rows)
    return [settled(task, most=most.get(task.model.identity)) for task in plan.tasks(selection.fitted)]


def _finish(store: Run, plan: Plan, tasks: Sequence[Task], selection: Selection, threads: int) -> Finished:
    """Write the tables of all committed units; again if other shards completed the run meanwhile."""
    scored = scored_combinations(tasks, selection.flags, selection.unfilled)
    settings = SummarySettings(seed=plan.config.seed, **plan.config.statistics.model_dump())
    while True:
        complete = not any(missing(task, store) for task in tasks)
        table = write_scores(store, scored)
        tables = results(cases_of(table, scored), settings)
        for name, result in tables.items():
            write_csv(store, f"{name}.csv", result.columns, result.rows)
        if complete or any(missing(task, store) for task in tasks):
            break
    write_json(store.folder / "provenance.json", provenance(store, tasks, threads, plan.rejected))
    write_json(store.folder / "skipped.json", {"skipped": [vars(entry) for entry in plan.skipped]})
    failures = count_failures(store, tasks, table)
    return Finished(store.folder, sum(map(weight, tasks)), complete, failures, plan.skipped, tables["summary"].rows)
