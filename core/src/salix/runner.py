"""Walks the plan: fills what is open, runs what is missing, writes the tables."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from .batch import Batch
from .catalog import Catalog
from .config import RunConfig, resolved_text
from .errors import SalixError
from .executors import Executor
from .model import Model
from .passes import gradients
from .plan import Plan, Skipped, Task, make_plan
from .provenance import provenance
from .records import Sample
from .selection import Selection, fill
from .store import Run, read_json, write_json, write_text, writing
from .tables import (
    COMPARISON_COLUMNS,
    SUMMARY_COLUMNS,
    Settings,
    comparisons,
    read_cases,
    scored,
    summaries,
    write_csv,
    write_scores,
)
from .worker import Outcome, lose, perform

GAIN = 0.9
"""A larger pass must cost less than this share of the time per image, or the smaller one is kept."""


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
    seconds: dict[str, float] = field(default_factory=dict)


def run(
    config: RunConfig, catalog: Catalog, observer: Observer | None = None, shard: tuple[int, int] = (1, 1)
) -> Finished:
    """Run everything a config asks for, or resume it; ``shard`` (i, n) takes the i-th of n parts of the tasks."""
    observer, start = observer or Quiet(), time.perf_counter()
    observer.stage("planning")
    plan = make_plan(config, catalog)
    store = Run.create(config.output)
    store.sweep()
    write_text(store.folder / "config.yaml", resolved_text(config))
    log(store, f"salix run: {len(plan.combinations)} combinations, shard {shard[0]} of {shard[1]}")
    observer.stage("filling open settings from the tuning split")
    selection = fill(plan, store)
    planned = plan.tasks(selection.fitted)
    executor, threads = _executor(config, catalog, store)
    tasks = _measured(planned, config, store, observer)
    catalog.call("salix_run_started", folder=store.folder, config=resolved_text(config))
    seconds = _execute(tasks[shard[0] - 1 :: shard[1]], executor, threads, store, catalog, observer)
    observer.stage("writing tables")
    finished = _finish(store, plan, tasks, selection, config, threads)
    finished.seconds = {**seconds, "wall": time.perf_counter() - start}
    catalog.call("salix_run_finished", folder=store.folder, summary={"rows": finished.summary})
    log(store, f"done: {finished.units} units, {finished.failures} failed cases; seconds {_rounded(finished.seconds)}")
    return finished


def missing(task: Task, store: Run) -> bool:
    """Whether anything of a task is not committed yet."""
    return any(not store.has(kind, key) for kind, key in task.keys())


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
            catalog.call("salix_unit_finished", folder=store.folder, unit=unit)
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


def _executor(config: RunConfig, catalog: Catalog, store: Run) -> tuple[Executor[Task, Outcome], int]:
    """The executor, and torch's threads per worker: as recorded in the run, as configured, or the cores shared out."""
    executor: Executor[Task, Outcome] = config.executor
    recorded = _execution(store).get("threads")
    workers = getattr(executor.params, "workers", 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = int(config.threads or recorded or max(1, cores // workers))
    _record(store, threads=threads)
    return executor, threads


def _execution(store: Run) -> dict[str, Any]:
    path = store.folder / "execution.json"
    return read_json(path) if path.is_file() else {}


def _record(store: Run, **values: Any) -> None:
    """What the bits depend on besides the config; resuming reads it."""
    write_json(store.folder / "execution.json", _execution(store) | values)


def device_of(config: RunConfig) -> str:
    """The device that ``device:`` stands for; raises ``SalixError`` when it is not there."""
    name = config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise SalixError(f"device {name!r} is not available on this machine; use device: cpu or auto.")
    return name


def _measured(tasks: Sequence[Task], config: RunConfig, store: Run, observer: Observer) -> list[Task]:
    """The tasks with device and rows; rows are measured once per model and device and kept in the run's folder."""
    device = device_of(config)
    rows = dict(_execution(store).get("rows", {}))
    for task in tasks:
        place = f"{task.model.identity}/{device}"
        if config.rows != "auto":
            rows[place] = int(config.rows)
        elif place not in rows:
            observer.stage(f"measuring {task.model.short} on {device}")
            rows[place] = measure_rows(task, device)
    _record(store, rows=rows)
    return [replace(task, device=device, rows=rows[f"{task.model.identity}/{device}"]) for task in tasks]


def measure_rows(task: Task, device: str) -> int:
    """The smallest number of images per pass beyond which a larger one saves no tenth of the time per image."""
    sample = first_readable(task)
    if sample is None:
        return 1
    best, rows = _seconds(task.model, sample, 1, device, repeats=2), 1
    candidates = (2, 4) if torch.device(device).type == "cpu" else (2, 4, 8, 16, 32, 64)
    for candidate in candidates:
        try:
            seconds = _seconds(task.model, sample, candidate, device) / candidate
        except (torch.OutOfMemoryError, MemoryError):
            break
        if seconds < GAIN * best:
            best, rows = seconds, candidate
    return rows


def first_readable(task: Task) -> Sample | None:
    """The first sample of a task that can be read and prepared."""
    for id in task.source.ids:
        try:
            return task.model.prepare(task.source.dataset.load(id))
        except (SalixError, OSError, ValueError):
            continue
    return None


def _seconds(model: Model, sample: Sample, rows: int, device: str, repeats: int = 1) -> float:
    """The best time of a forward and backward pass over ``rows`` copies of a sample."""
    images = torch.from_numpy(sample.image)[None].expand(rows, *sample.image.shape).contiguous().to(device)
    inputs: Callable[[], dict[str, Any]] = lambda: model.collate([sample] * rows)  # noqa: E731
    times = []
    for _ in range(repeats + (repeats > 1)):
        batch = Batch(model, [str(row) for row in range(rows)], images, [0] * rows, inputs=inputs())
        start = time.perf_counter()
        gradients(batch)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        times.append(time.perf_counter() - start)
    return min(times)


def _finish(
    store: Run, plan: Plan, tasks: Sequence[Task], selection: Selection, config: RunConfig, threads: int
) -> Finished:
    """Write the tables of all units that are there."""
    entries = scored(tasks, selection.flags)
    write_scores(store, entries)
    cases = read_cases(store, entries)
    settings = Settings(
        config.statistics.resamples, config.statistics.permutations, config.statistics.confidence, config.seed
    )
    summary = summaries(cases, settings)
    write_csv(store, "summary.csv", SUMMARY_COLUMNS, summary)
    write_csv(store, "comparisons.csv", COMPARISON_COLUMNS, comparisons(cases, settings))
    write_json(store.folder / "provenance.json", provenance(store, tasks, threads))
    skipped = [vars(entry) for entry in plan.skipped]
    write_json(store.folder / "skipped.json", {"skipped": skipped})
    complete = not any(missing(task, store) for task in tasks)
    return Finished(store.folder, sum(map(_size, tasks)), complete, _failures(store, tasks), plan.skipped, summary)


def _failures(store: Run, tasks: Sequence[Task]) -> int:
    """The cases whose heatmap failed or is invalid, over all committed units."""
    keys = {unit.key for task in tasks for unit in task.units if store.has("heatmaps", unit.key)}
    cases = (case for key in keys for case in store.meta("heatmaps", key)["cases"])
    return sum(case["status"] in ("failed", "invalid") for case in cases)


def log(store: Run, text: str) -> None:
    """Append to the run's log; times are kept here and nowhere else."""
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    with writing(store.folder), open(store.folder / "log.txt", "a", encoding="utf-8") as stream:
        stream.write(f"{stamp} {text}\n")


def _rounded(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in sorted(seconds.items()))
