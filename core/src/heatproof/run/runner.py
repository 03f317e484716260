"""Walks the plan: fills what is open, runs what is missing, writes the tables."""

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..config.settings import RunConfig, resolved, resolved_text
from ..digests import digest
from ..errors import DataError, HeatproofError
from ..executor import Executor
from ..plan import splits
from ..plan.plan import Plan, make_plan
from ..plan.sample_cache import configured
from ..plan.task import Skipped, Task
from ..records import Array, Kind
from ..registry.catalog import Catalog
from ..results.parquet import read_table
from ..results.scores import cases_of, scored, write_csv, write_scores
from ..results.store import Run, write_json, write_text, writing
from ..results.summary import Settings, results
from .batch_size import measure_rows
from .chunk import Outcome
from .provenance import provenance
from .selection import Selection, fill
from .worker import lose, perform


class Observer(Protocol):
    """Who is told how a run goes."""

    def stage(self, text: str) -> None:
        """Something starts that takes a while."""

    def begin(self, units: int, done: int) -> None:
        """So many units are planned, so many of them are committed already."""

    def advance(self, units: int, failures: int, text: str) -> None:
        """Units were committed, some of their cases failed."""


class Quiet:
    """An observer who does not mind."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def begin(self, units: int, done: int) -> None:
        """Nothing."""

    def advance(self, units: int, failures: int, text: str) -> None:
        """Nothing."""


@dataclass
class Finished:
    """How a run, or a shard of it, ended."""

    folder: Path
    units: int
    complete: bool
    failures: int
    skipped: tuple[Skipped, ...]
    summary: list[dict[str, Any]]
    left_out: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def run(
    config: RunConfig,
    catalog: Catalog,
    observer: Observer | None = None,
    shard: tuple[int, int] = (1, 1),
    retry: bool = False,
    strict: bool = False,
) -> Finished:
    """Run everything a config asks for, or resume it.

    ``shard`` (i, n) takes the i-th of n parts of the tasks; ``retry`` takes back the units in which a case failed;
    ``strict`` refuses datasets of which something had to be left out.
    """
    observer, start = observer or Quiet(), time.perf_counter()
    observer.stage("planning")
    plan = make_plan(config, catalog)
    faults = _complaints(plan)
    if strict and faults:
        raise DataError(f"{faults[0].rstrip('.')} (--strict); see `heatproof data check`, and mend or remove it.")
    store = Run.create(config.output)
    store.sweep()
    write_text(store.folder / "config.yaml", resolved_text(config))
    log(store, f"heatproof run: {len(plan.combinations)} combinations, shard {shard[0]} of {shard[1]}")
    write_csv(store, "splits.csv", splits.COLUMNS, splits.rows([source for source, _ in plan.pairs], plan.tuning))
    for fault in faults:
        log(store, f"left out: {fault}")
    observer.stage("filling open settings from the tuning split")
    cache = configured(config.cache, config.cache_limit)
    selection = fill(plan, store, cache)
    threads = _threads(config, store)
    cached = [replace(task, cache=cache) for task in plan.tasks(selection.fitted)]
    tasks = _measured(cached, config, store, observer)
    own = tasks[shard[0] - 1 :: shard[1]]
    if retry:
        log(store, f"retry: {forget_failures(store, own)} units with failed cases are taken back")
    catalog.call("heatproof_run_started", folder=store.folder, config=resolved(config))
    seconds = _execute(own, config.executor, threads, store, catalog, observer)
    observer.stage("writing tables")
    finished = _finish(store, plan, tasks, selection, config, threads)
    finished.left_out = faults
    finished.seconds = {**seconds, "wall": time.perf_counter() - start}
    if finished.complete:
        catalog.call("heatproof_run_finished", folder=store.folder, summary={"rows": finished.summary})
    log(store, f"done: {finished.units} units, {finished.failures} failed cases; seconds {_rounded(finished.seconds)}")
    return finished


def _complaints(plan: Plan) -> tuple[str, ...]:
    """A sentence for all that datasets leave out because something is wrong with it."""
    names = {source.dataset.identity: source.dataset.short for source, _ in plan.pairs}
    return tuple(
        f"{names[identity]} has {found.count} {found.what}" + (f", such as {found.example}" if found.example else "")
        for identity, each in plan.left_out.items()
        for found in each
    )


def missing(task: Task, store: Run) -> bool:
    """Whether anything of a task is not committed yet."""
    return any(not store.has(kind, key) for kind, key in task.parts())


def _execute(
    tasks: Sequence[Task],
    executor: Executor[Task, Outcome],
    threads: int,
    store: Run,
    catalog: Catalog,
    observer: Observer,
) -> dict[str, float]:
    """Run the tasks of which something is missing; the seconds spent by kind of work."""
    pending = [task for task in tasks if missing(task, store)]
    observer.begin(sum(map(_size, tasks)), sum(map(_size, tasks)) - sum(map(_size, pending)))
    seconds: dict[str, float] = {}

    def done(task: Task, outcome: Outcome) -> None:
        for name, value in outcome.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
        for message in outcome.messages:
            log(store, message)
        for unit in outcome.units:
            catalog.call("heatproof_unit_finished", folder=store.folder, unit=unit)
        text = f"{task.source.dataset.short} × {task.model.short}, {len(task.ids)} samples"
        observer.advance(_size(task), outcome.failures, text)

    def lost(task: Task, reason: str) -> None:
        done(task, lose(store.folder, task, reason))

    if pending:
        executor.run(pending, partial(perform, store.folder), done, lost, threads)
    return seconds


def _size(task: Task) -> int:
    """How many units a task is worth to the one who watches."""
    return max(1, len(task.units))


def _threads(config: RunConfig, store: Run) -> int:
    """Torch's threads per worker: as configured, as settled in the run, or the cores shared out."""
    workers = getattr(config.executor.params, "workers", 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return config.threads or int(store.settled("threads", threads=max(1, cores // workers))["threads"])


def device_of(config: RunConfig) -> str:
    """The device that ``device:`` stands for; raises ``HeatproofError`` when it is not there."""
    name = config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise HeatproofError(f"device {name!r} is not available on this machine; use device: cpu or auto.")
    return name


def _measured(tasks: Sequence[Task], config: RunConfig, store: Run, observer: Observer) -> list[Task]:
    """The tasks with device and rows, which are configured, or measured once per model and device."""
    device, rows = device_of(config), dict[str, int]()
    for task in tasks:
        if task.model.identity not in rows:
            rows[task.model.identity] = (
                _rows(task, device, store, observer) if config.rows == "auto" else int(config.rows)
            )
    return [replace(task, device=device, rows=rows[task.model.identity]) for task in tasks]


def _rows(task: Task, device: str, store: Run, observer: Observer) -> int:
    """The rows of a model as settled in the run, or measured and settled now."""
    key = f"rows-{digest([task.model.identity, device])}"
    if store.has("execution", key):
        return int(store.meta("execution", key)["rows"])
    observer.stage(f"measuring {task.model.short} on {device}")
    rows = measure_rows(task, device)
    return int(store.settled(key, rows=rows, model=task.model.describe(), device=device)["rows"])


def _finish(
    store: Run, plan: Plan, tasks: Sequence[Task], selection: Selection, config: RunConfig, threads: int
) -> Finished:
    """Write the tables of all units that are there; again where other shards finished the rest meanwhile."""
    entries, complete = scored(tasks, selection.flags, selection.given), False
    settings = Settings(seed=config.seed, **config.statistics.model_dump())
    while True:
        complete = not any(missing(task, store) for task in tasks)
        table = write_scores(store, entries)
        tables = results(cases_of(table, entries), settings)
        for name, made in tables.items():
            write_csv(store, f"{name}.csv", made.columns, made.rows)
        if complete or any(missing(task, store) for task in tasks):
            break
    write_json(store.folder / "provenance.json", provenance(store, tasks, threads, plan.left_out))
    write_json(store.folder / "skipped.json", {"skipped": [vars(entry) for entry in plan.skipped]})
    failures, summary = _failures(store, tasks, table), tables["summary"].rows
    return Finished(store.folder, sum(map(_size, tasks)), complete, failures, plan.skipped, summary)


def _failures(store: Run, tasks: Sequence[Task], table: Mapping[str, Array]) -> int:
    """The cases of any combination that failed or are invalid, in their heatmap or in a score."""
    bad = np.isin(table["status"].astype(str), ("failed", "invalid"))
    found = set(zip(table["combination"][bad], table["case"][bad]))
    for task in tasks:
        for unit in task.units:
            found |= {(unit.combination.key, case) for case in _cases(store, unit.key, ("failed", "invalid"))}
    return len(found)


def _cases(store: Run, key: str, statuses: Collection[str]) -> list[str]:
    """The cases of a heatmap unit that have one of these statuses; none where it is not committed."""
    if not store.has("heatmaps", key):
        return []
    return [case["id"] for case in store.meta("heatmaps", key)["cases"] if case["status"] in statuses]


def forget_failures(store: Run, tasks: Sequence[Task]) -> int:
    """Take back every unit of the tasks in which a case failed, with all scores made from it; how many they were."""
    heatmaps = {unit.key for task in tasks for unit in task.units if _cases(store, unit.key, ("failed",))}
    predictions = {task.prediction for task in tasks if _failed(store, "predictions", task.prediction)}
    own = {key for task in tasks for kind, key in task.parts() if kind == "scores"}
    scores = {key for key in own if _failed(store, "scores", key)}
    for key in store.keys("scores") - scores:
        made_of = store.meta("scores", key)
        if made_of["heatmaps"] in heatmaps or made_of["predictions"] in predictions:
            scores.add(key)
    found: dict[Kind, set[str]] = {"scores": scores, "heatmaps": heatmaps, "predictions": predictions}
    for kind, keys in found.items():
        for key in keys:
            store.remove(kind, key)
    return sum(map(len, found.values()))


def _failed(store: Run, kind: Kind, key: str) -> bool:
    """Whether a committed table of cases has a failed one."""
    return store.has(kind, key) and "failed" in read_table(store.unit(kind, key) / f"{kind}.parquet")["status"]


def log(store: Run, text: str) -> None:
    """Append to the run's log; times are kept here and nowhere else."""
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    with writing(store.folder), open(store.folder / "log.txt", "a", encoding="utf-8") as stream:
        stream.write(f"{stamp} {text}\n")


def _rounded(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in sorted(seconds.items()))
