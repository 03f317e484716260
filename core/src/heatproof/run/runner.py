"""A run from its config to its tables: plan, fill open settings, run what is missing, write the tables."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..config.settings import RunConfig, resolved
from ..config.yamlfile import written
from ..dataset import Tally
from ..errors import DataError
from ..executor import end_if_unguarded
from ..limits import exits_are_errors
from ..plan import splits
from ..plan.plan import Plan, make_plan
from ..plan.sample_cache import configured, prepared
from ..plan.task import Skipped, Task
from ..registry.catalog import Catalog
from ..results.finished import Results
from ..results.scores import ScoredCombination, cases_of, flagged, scored_combinations, write_csv, write_scores
from ..results.store import Run, require_writable
from ..results.subgroups import NAMES, subgroup_tables
from ..results.summary import ResultTable, SummarySettings, results
from .changes import changes
from .choosing import Chooser
from .empty_findings import empty_findings
from .execution import Observer, device_of, execute, missing, settled_threads, weight
from .memory import most_rows
from .provenance import provenance, settled_environment
from .retry import again, forget_damaged, forget_failures
from .selection import Selection, fill, forget_others, require_tuning
from .subgroups import forget_older, subgroups
from .tuning import tune, tuning_tasks
from .validity import Validity, validity


@dataclass
class Finished:
    """The outcome of a run, or of a shard of it."""

    folder: Path
    units: int
    complete: bool
    validity: Validity
    skipped: tuple[Skipped, ...]
    summary: list[dict[str, Any]]
    rejected: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    ungrouped: tuple[str, ...] = ()
    changed: str = ""
    pages: Sequence[Path] = ()
    faults: Sequence[str] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def remarks(self) -> list[str]:
        """What a user should know of the run besides its results, a line each."""
        return [
            *filter(None, [self.changed]),
            *(f"rejected: {fault}" for fault in self.rejected),
            *(f"empty: {sentence}." for sentence in self.empty),
            *(f"{sentence}." for sentence in self.ungrouped),
            *(
                f"skipped: {entry.explainer} on {entry.model} ({entry.dataset}): {entry.reason}"
                for entry in self.skipped
            ),
            *(f"no valid case: {sentence}" for sentence in self.validity.empty),
        ]

    @property
    def failures(self) -> int:
        """The failed or invalid cases, counted for each combination and metric."""
        return self.validity.failures


@exits_are_errors()
def run(
    config: RunConfig, catalog: Catalog, observer: Observer | None = None, shard: tuple[int, int] = (1, 1),
    retry: bool = False, strict: bool = False, verify: bool = False,
) -> Finished:  # fmt: skip
    """Run everything that a config asks for, or resume it.

    ``shard`` (i, n) runs the i-th of n parts of the tasks; ``retry`` computes units with failed cases again;
    ``strict`` refuses datasets with rejected files; ``verify`` reads all files again, also those that look unchanged.
    """
    end_if_unguarded()
    observer = observer or Observer()
    start = time.perf_counter()
    observer.stage("planning")
    plan = ready(config, catalog, strict)
    rejected = _sentences(plan, plan.rejected)
    most = most_rows(plan)
    store = _opened(plan, rejected, shard, catalog, observer)
    threads = settled_threads(config, store)
    environment = settled_environment(store, catalog, device_of(config), threads)
    settle = partial(_settled, config=config, environment=environment, most=most)
    compute = partial(execute, executor=config.executor, threads=threads, run=store, catalog=catalog, observer=observer)
    catalog.call("heatproof_run_started", folder=store.folder, config=resolved(config))
    plan, selection = _selected(plan, store, observer, verify, retry, settle, compute)
    tasks = settle(_planned(plan, selection))
    changed = changes(store, tasks)
    shared = tasks[shard[0] - 1 :: shard[1]]
    forget_damaged(store, shared)
    store.repairing(lambda: forget_older(store, tasks, config.by))
    if retry:
        store.log(f"retry: units removed, since cases had failed: {forget_failures(store, shared)}")
    seconds = compute(shared)
    observer.stage("writing tables")
    finished = store.repairing(lambda: _finish(store, plan, tasks, selection, compute, observer))
    finished.rejected = rejected
    finished.changed = changed
    finished.seconds = {**seconds, "wall": time.perf_counter() - start}
    _announce(finished, store, config, catalog, observer)
    _log(finished, store)
    return finished


def _log(finished: Finished, store: Run) -> None:
    """Write the counts and seconds of a run into its log."""
    spent = ", ".join(f"{name} {value:.2f}" for name, value in sorted(finished.seconds.items()))
    store.log(f"done: units {finished.units}, failed cases {finished.failures}; seconds {spent}")


def _announce(
    finished: Finished, store: Run, config: RunConfig, catalog: Catalog, observer: Observer
) -> None:  # fmt: skip
    """Let plugins react to a run if it is complete, as by a page."""
    if not finished.complete:
        return
    observer.stage("writing the report")
    finished.pages, finished.faults = Results(store.folder, catalog, config.components()).announce()
    for fault in finished.faults:
        store.log(fault)


def ready(config: RunConfig, catalog: Catalog, strict: bool = False) -> Plan:
    """The plan of a config that can start; raises everything that a run refuses before its first pass."""
    device_of(config)
    configured(config.cache, config.cache_limit)
    require_writable(config.output)
    plan = make_plan(config, catalog)
    require_tuning(plan)
    if strict and (rejected := _sentences(plan, plan.rejected)):
        dataset = next(source.dataset for source, _ in plan.pairs if plan.rejected[source.dataset.identity])
        advice = f"see `{dataset.check_command}`, and mend or remove them."
        raise DataError(f"{rejected[0].rstrip('.')} (--strict); {advice}")
    return plan


def _sentences(plan: Plan, counted: Mapping[str, Sequence[Tally]]) -> tuple[str, ...]:
    """A sentence for each tally; ``counted``: dataset identity → tallies."""
    names = {source.dataset.identity: source.dataset.short for source, _ in plan.pairs}
    return tuple(tally.sentence(names[identity]) for identity, tallies in counted.items() for tally in tallies)


def _opened(plan: Plan, rejected: Sequence[str], shard: tuple[int, int], catalog: Catalog, observer: Observer) -> Run:
    """Create the folder of the run, and write its config and splits."""
    store = Run.create(plan.config.output)
    store.notice = observer.notice
    store.sweep()
    store.write("config.yaml", written(resolved(plan.config)))
    combinations = len(plan.combinations) + len(plan.choices)
    store.log(f"heatproof run: combinations {combinations}, shard {shard[0]} of {shard[1]}")
    write_csv(
        store,
        "splits.csv",
        splits.COLUMNS,
        splits.rows([source for source, _ in plan.pairs], [*plan.tuning, *plan.compared]),
    )
    for sentence in rejected:
        store.log(f"rejected: {sentence}")
    for sentence in _sentences(plan, plan.passed_over):
        store.log(sentence)
        observer.notice(sentence)
    for plugin in catalog.apart:
        store.log(f"broken plugin, set apart: {plugin}")
    for notice in plan.notices:
        store.say_once(notice)
    return store


def _selected(
    plan: Plan, store: Run, observer: Observer, verify: bool, retry: bool,
    settle: Callable[[Iterable[Task]], Sequence[Task]], compute: Callable[[Sequence[Task]], object],
) -> tuple[Plan, Selection]:  # fmt: skip
    """Read the files of samples, whose digest the keys of units contain; fill open settings, and make the choices."""
    cache = configured(plan.config.cache, plan.config.cache_limit)
    samples = prepared(cache)
    sources = [*(source for source, _ in plan.pairs), *plan.tuning, *plan.compared]
    samples.contents.read([(source.dataset, source.ids) for source in sources], observer.stage, verify)
    for message in samples.take_messages():
        store.log(message)
    observer.stage("filling open settings from the tuning split")
    selection = fill(plan, store, cache, observer)
    chooser = Chooser(plan, selection, store, cache, _statistics(plan.config), settle, compute, observer, retry)
    plan, selection = chooser.explainers()
    selection = replace(chooser, plan=plan, selection=selection).metrics()
    tasks = settle(tuning_tasks(plan, samples.contents.of))
    selection = tune(plan, selection, store, cache, tasks, compute, observer)
    forget_others(store, selection)
    return plan, selection


def _statistics(config: RunConfig) -> SummarySettings:
    """The settings of intervals and tests, with the seed of their draws."""
    return SummarySettings(seed=config.seed, **config.statistics.model_dump())


def _planned(plan: Plan, selection: Selection) -> Iterable[Task]:
    """The tasks of a plan with the metrics as they were filled."""
    cache = configured(plan.config.cache, plan.config.cache_limit)
    return plan.tasks(selection.fitted, prepared(cache).contents.of, selection.tuned, selection.selected)


def _settled(tasks: Iterable[Task], config: RunConfig, environment: str, most: Mapping[str, int]) -> list[Task]:
    """The tasks with all that does not follow from the plan; ``most``: model → the images per pass that fit."""
    device = device_of(config)
    cache = configured(config.cache, config.cache_limit)
    rows = None if config.rows == "auto" else int(config.rows)
    return [
        replace(
            task, device=device, cache=cache, rows=rows, environment=environment, time_limit=config.time_limit,
            most=most.get(task.model.identity),
        )
        for task in tasks
    ]  # fmt: skip


def _scored(tasks: Sequence[Task], selection: Selection) -> list[ScoredCombination]:
    return scored_combinations(
        tasks, selection.flags, selection.unfilled, selection.families, selection.chosen, selection.titles
    )


def _finish(
    store: Run, plan: Plan, tasks: Sequence[Task], selection: Selection, compute: Callable[[Sequence[Task]], object],
    observer: Observer,
) -> Finished:  # fmt: skip
    """Write the tables of all committed units; again if other shards completed the run meanwhile."""
    if damaged := again(store, tasks):
        compute(damaged)
    settings = _statistics(plan.config)
    step = partial(_stepped, observer)
    while True:
        complete = not any(missing(task, store) for task in tasks)
        scored = flagged(store, _scored(tasks, selection))
        table = write_scores(store, scored)
        cases = cases_of(table, scored)
        divided, ungrouped = subgroups(store, tasks, plan.config.by)
        tables = results(cases, settings, step) | subgroup_tables(table, scored, divided, settings, step)
        _write_tables(store, tables, bool(plan.config.by))
        if complete or any(missing(task, store) for task in tasks):
            break
    store.write_json("provenance.json", provenance(store, tasks, plan.rejected))
    store.write_json("skipped.json", {"skipped": [vars(entry) for entry in plan.skipped]})
    counted = validity(store, tasks, cases)
    empty = empty_findings(store, tasks)
    for sentence in (*(f"no valid case: {sentence}" for sentence in counted.empty), *empty, *ungrouped):
        store.log(sentence)
    rows = tables["summary"].rows
    units = sum(map(weight, tasks))
    return Finished(store.folder, units, complete, counted, plan.skipped, rows, empty=empty, ungrouped=ungrouped)


def _stepped(observer: Observer, text: str) -> None:
    """Report how far the statistics are."""
    observer.step(f"writing tables: {text}")


def _write_tables(store: Run, tables: Mapping[str, ResultTable], divided: bool) -> None:
    """Write the tables; those of subgroups only if the run is ``divided``, else those of an earlier config go."""
    for name, table in tables.items():
        if name in NAMES.values() and not divided:
            store.withdraw(f"{name}.csv")
        else:
            write_csv(store, f"{name}.csv", table.columns, table.rows)
