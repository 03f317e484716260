"""The chunk of a task under way: its prepared samples, its batches, its targets, and what went wrong."""

import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from .batch import Batch
from .errors import SalixError
from .model import Model
from .plan import Combination, Task
from .records import Prediction, Sample, Status
from .store import Run


@dataclass(frozen=True)
class Failure:
    """Why a case has no value, and under which status it is listed."""

    reason: str
    status: Status = "failed"


@dataclass
class Outcome:
    """What a task came to: units committed, cases that failed, seconds by kind of work, and what to log."""

    units: list[dict[str, Any]] = field(default_factory=list)
    failures: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    messages: list[str] = field(default_factory=list)


class Chunk:
    """One task under way in this process."""

    _models: ClassVar[dict[tuple[str, str], Model]] = {}

    def __init__(self, run: Run, task: Task):
        self.run, self.task, self.outcome = run, task, Outcome()
        # A worker process keeps its models: building and folding one costs more than many passes.
        self.model = self._models.setdefault((task.model.identity, task.device), task.model)

    @contextmanager
    def clock(self, kind: str) -> Iterator[None]:
        """Count the seconds spent on a kind of work: decoding, passes or metrics."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.outcome.seconds[kind] += time.perf_counter() - start

    @cached_property
    def samples(self) -> dict[str, Sample | Failure]:
        """The prepared samples of the chunk; one that cannot be read is a failure."""
        with self.clock("decoding"):
            return {id: self._prepared(id) for id in self.task.ids}

    def _prepared(self, id: str) -> Sample | Failure:
        try:
            sample: Sample = self.model.prepare(self.task.source.dataset.load(id))
            return sample
        except Exception as error:
            return self.failure(f"sample {id}", error)

    def failure(self, what: str, error: Exception) -> Failure:
        """A failure's reason in a line; the traceback goes to the log."""
        reason = str(error) if isinstance(error, SalixError) else f"{type(error).__name__}: {error}".strip()
        trace = "" if isinstance(error, SalixError) else "\n" + "".join(traceback.format_exception(error)).rstrip()
        self.outcome.messages.append(f"{what}: {reason}{trace}")
        return Failure(" ".join(reason.split()))

    def batches(self) -> Iterator[tuple[Batch, list[Sample]]]:
        """The readable samples in batches of ``rows``, always the same for the same chunk."""
        readable = [sample for sample in self.samples.values() if isinstance(sample, Sample)]
        for start in range(0, len(readable), self.task.rows):
            samples = readable[start : start + self.task.rows]
            yield self.batch(samples), samples

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Prepared samples as a batch on the task's device; targets are set later."""
        device = torch.device(self.task.device)
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(device)
        inputs = {
            name: value.to(device) if isinstance(value, torch.Tensor) else value
            for name, value in self.model.collate(samples).items()
        }
        ids = [sample.id for sample in samples]
        return Batch(
            self.model, ids, images, [0] * len(ids), inputs=inputs, layers=self.task.layers, rows=self.task.rows,
            seed=self.task.seed,
        )  # fmt: skip

    def target(self, sample: Sample, prediction: Prediction | Failure, combination: Combination) -> int | Failure:
        """The index of the logit to explain."""
        target = combination.target
        if target in ("", "logit"):
            return 0
        if isinstance(prediction, Failure):
            return prediction
        if target == "predicted":
            return prediction.decision
        if target != "label":
            return int(self.model.target(target))
        if not isinstance(sample.label, int):
            return Failure("the sample has no single label to explain", "excluded")
        name = combination.source.dataset.classes[sample.label]
        if name not in self.model.classes:
            return Failure(f"the model has no class {name!r}", "excluded")
        return int(self.model.target(name))
