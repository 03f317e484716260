"""A task in execution: its model, its samples, and their batches."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from ..batch import OUT_OF_MEMORY, Batch, fields
from ..errors import HeatproofError, Interference
from ..limits import time_limit, worker_ends_after
from ..model import Model
from ..plan.task import RUNNING, Task
from ..records import Sample
from ..results.store import Run
from ..watch import settled
from .batch_size import on_device, settled_rows
from .outcome import Failure, Outcome
from .residence import resident
from .samples import Samples
from .weights import Weights

Result = TypeVar("Result")
GRACE = 5.0
"""Seconds after the time limit until a worker process ends whose code no timer interrupts."""


@dataclass(frozen=True)
class Work:
    """A task with the run that it commits to and its outcome."""

    run: Run
    task: Task
    outcome: Outcome
    distrusted: set[str] = field(default_factory=set)
    """The keys of units whose explainers changed what others use; they get batches of their own."""
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Key of a unit → the seconds that it took so far."""
    activity: ClassVar[str] = ""
    """What runs in this process at the moment, for messages."""

    @cached_property
    def weights(self) -> Weights:
        """The weights of the model as they were first."""
        return Weights(self.model)

    @contextmanager
    def bounded(self, key: str, name: str) -> Iterator[None]:
        """Bound the seconds that a unit takes, all its batches together; raises ``HeatproofError`` once they are spent.

        In a worker process also C code is bounded: the process ends, and when the task runs again, the unit fails.
        """
        Work.activity = name
        try:
            with self._limited(key, name):
                yield
        finally:
            Work.activity = ""

    @contextmanager
    def _limited(self, key: str, name: str) -> Iterator[None]:
        limit = self.task.time_limit
        if limit is None:
            yield
            return
        message = f"{name} took longer than the time_limit of {limit:g} s"
        trace = self.run.overtime(key)
        if self.spent[key] < limit and trace.is_file() and (text := trace.read_text(encoding="utf-8")):
            self.outcome.messages.append(f"{message}:\n{text.rstrip()}")
            self.spent[key] = limit
        remaining = limit - self.spent[key]
        if remaining <= 0:
            raise HeatproofError(message)
        start = time.monotonic()
        try:
            with worker_ends_after(remaining + GRACE, trace), time_limit(remaining, message):
                yield
        finally:
            self.spent[key] += time.monotonic() - start

    @cached_property
    def model(self) -> Model:
        """The task's model, resident in this process."""
        return resident(self.task.model)

    def require_network(self) -> None:
        """Build the network if anything that is missing asks it: one that differs from the plan's ends the run."""
        task = self.task
        scores = {task.scores(metric): metric for metric in task.metrics}
        scores |= {unit.scores(metric): metric for unit in task.units for metric in unit.metrics}
        missing = [key for kind, key in task.parts() if not self.run.has(kind, key)]
        if any(key not in scores or scores[key].needs & RUNNING for key in missing):
            self.model.require_built()

    @cached_property
    def samples(self) -> Samples:
        """The task's samples."""
        return Samples(self.task, self.model, self.outcome)

    @cached_property
    def rows(self) -> int:
        """The number of images per pass."""
        return settled_rows(self.run, replace(self.task, model=self.model))

    def batches(self) -> Iterator[tuple[Batch, Sequence[Sample]]]:
        """The readable samples in batches of ``rows``, always the same for the same task."""
        readable = self.samples.arriving()
        while samples := list(islice(readable, self.rows)):
            yield from self._batches(samples)

    def _batches(self, samples: Sequence[Sample]) -> Iterator[tuple[Batch, Sequence[Sample]]]:
        """Yield samples as one batch; if that fails, halves of it, down to a single sample that fails."""
        try:
            batch = self.batch(samples)
        except Exception as error:
            if len(samples) == 1:
                self.samples.fail(samples[0].id, self.outcome.failure(f"inputs of {samples[0].id}", error))
                return
        else:
            yield batch, samples
            return
        middle = len(samples) // 2
        yield from self._batches(samples[:middle])
        yield from self._batches(samples[middle:])

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """A batch of prepared samples on the task's device; its targets are set later."""
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(self.task.device, self.model.dtype)
        collated = settled(self.model.short, lambda: self.model.collate(samples))
        inputs = on_device(collated, self.task.device, self.model.dtype)
        ids = [sample.id for sample in samples]
        return Batch(
            self.model, ids, images, [0] * len(ids), inputs=inputs, field=fields(samples).to(self.task.device),
            layers=self.task.layers, requests=self.task.requests, rows=self.rows, seed=self.task.seed,
        )  # fmt: skip

    def divided(
        self, batch: Batch, act: Callable[[Batch], Mapping[str, Result]], name: str,
        mark: Callable[[Result | Failure], Result | Failure],
    ) -> dict[str, Result | Failure]:  # fmt: skip
        """The results of ``act`` by id; if it raises, the batch is halved, and ``mark`` applied if memory ran out.

        ``Interference`` is raised: it concerns the whole batch.
        """
        try:
            return dict(act(batch))
        except Interference:
            raise
        except Exception as error:
            if len(batch) == 1:
                return {batch.ids[0]: self.outcome.failure(f"{name} of {batch.ids[0]}", error)}
            exhausted = isinstance(error, OUT_OF_MEMORY)
        # The error holds the tensors that did not fit; they are freed only after the `except` block.
        middle = len(batch) // 2
        results: dict[str, Any] = {}
        for half in (range(middle), range(middle, len(batch))):
            results |= self.divided(batch.select(half), act, name, mark)
        if not exhausted:
            return results
        return {id: mark(result) for id, result in results.items()}
