"""The chunk of a task under way: its prepared samples, its batches, its targets, and what went wrong."""

import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch

from ..batch import Batch, fields
from ..dataset import Dataset
from ..errors import DataError, HeatproofError, Undefined
from ..imaging.images import READERS
from ..model import Model
from ..plan.sample_cache import prepared
from ..plan.task import LABELLED, Combination, Task
from ..records import Prediction, Sample, Status
from ..results.store import Run


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
        self._found: dict[str, Sample | Failure] = {}
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
        for _ in self._arriving():
            pass
        return self._found

    def _arriving(self) -> Iterator[tuple[str, Sample | Failure]]:
        """The samples in order, as they are read; once all are there they are ``samples``."""
        if "samples" in self.__dict__:
            yield from self.samples.items()
            return
        earlier: Sample | None = None
        for id, read in self._read():
            with self.clock("decoding"):
                self._found[id] = made = self._checked(id, read, earlier)
            earlier = earlier or (made if isinstance(made, Sample) else None)
            yield id, made
        self.samples = self._found
        self.outcome.messages += prepared(self.task.cache).told()

    def _read(self) -> Iterator[tuple[str, Callable[[], Sample]]]:
        """What gives each sample, or raises why there is none: by as many threads as torch has, but not too many.

        The first is read before the others, so that what a dataset reads once is read once. A GPU gets its first
        batches while others are still being read.
        """
        load = partial(prepared(self.task.cache).sample, self.task.source.dataset, self.model)
        threads = min(torch.get_num_threads(), READERS, len(self.task.ids) - 1)
        if threads < 2:
            yield from ((id, partial(load, id)) for id in self.task.ids)
            return
        first, *others = self.task.ids
        yield first, partial(load, first)
        pool = ThreadPoolExecutor(threads, "heatproof-reader")
        try:
            futures = [pool.submit(load, id) for id in others]
            if self.task.device == "cpu":
                # Torch's threads wait for one another, so one that lacks its core holds up all.
                with self.clock("decoding"):
                    wait(futures)
            yield from ((id, future.result) for id, future in zip(others, futures))
        finally:
            pool.shutdown(cancel_futures=True)

    def _checked(self, id: str, read: Callable[[], Sample], earlier: Sample | None) -> Sample | Failure:
        """A sample on the grid of the earlier ones; one that cannot be had is a failure."""
        try:
            sample = read()
            if sample.id != id:
                raise DataError(f"{self.task.source.dataset.short} gave sample {sample.id!r} for the id {id!r}")
            if earlier is not None and sample.image.shape != earlier.image.shape:
                raise DataError(
                    f"prepared to {sample.image.shape}, {earlier.id} to {earlier.image.shape}; "
                    f"{self.model.short} must prepare every picture to one grid"
                )
            return sample
        except Exception as error:
            return self.failure(f"sample {id}", error)

    def failure(self, what: str, error: Exception) -> Failure:
        """A failure's reason in a line; the traceback goes to the log. What is undefined is excluded, not failed."""
        if isinstance(error, Undefined):
            return Failure(str(error), "excluded")
        reason = str(error) if isinstance(error, HeatproofError) else f"{type(error).__name__}: {error}".strip()
        trace = "" if isinstance(error, HeatproofError) else "\n" + "".join(traceback.format_exception(error)).rstrip()
        self.outcome.messages.append(f"{what}: {reason}{trace}")
        return Failure(" ".join(reason.split()))

    def batches(self) -> Iterator[tuple[Batch, Sequence[Sample]]]:
        """The readable samples in batches of ``rows``, always the same for the same chunk."""
        readable = (sample for _, sample in self._arriving() if isinstance(sample, Sample))
        while some := list(islice(readable, self.task.rows)):
            yield from self._batches(some)

    def _batches(self, samples: Sequence[Sample]) -> Iterator[tuple[Batch, Sequence[Sample]]]:
        """Samples in one batch, or in halves until one that cannot be in any fails alone."""
        batch = None
        try:
            batch = self.batch(samples)
        except Exception as error:
            if len(samples) == 1:
                self._found[samples[0].id] = self.failure(f"inputs of {samples[0].id}", error)
                return
        if batch is not None:
            yield batch, samples
            return
        middle = len(samples) // 2
        yield from self._batches(samples[:middle])
        yield from self._batches(samples[middle:])

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Prepared samples as a batch on the task's device; targets are set later."""
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(self.task.device)
        inputs = placed(self.model.collate(samples), self.task.device)
        ids = [sample.id for sample in samples]
        return Batch(
            self.model, ids, images, [0] * len(ids), inputs=inputs, field=fields(samples).to(self.task.device),
            layers=self.task.layers, rules=self.task.rules, rows=self.task.rows, seed=self.task.seed,
        )  # fmt: skip

    def target(self, sample: Sample, prediction: Prediction | Failure, combination: Combination) -> int | Failure:
        """The index of the logit to explain; what has no prediction has none, unless no model is asked."""
        target = combination.target
        if combination.model_free:
            return 0
        if isinstance(prediction, Failure):
            return prediction
        if target in ("", "logit"):
            return 0
        if target == "predicted":
            return prediction.decision
        if target == "label":
            return self._labelled(sample, combination.source.dataset)
        name = target.removeprefix(LABELLED)
        if name != target and name not in _names(sample, combination.source.dataset):
            return Failure(f"the sample is not labelled {name!r}", "excluded")
        return int(self.model.target(name))

    def _labelled(self, sample: Sample, dataset: Dataset) -> int | Failure:
        """The index of the logit that has the name of the sample's label."""
        labels = label_indices(sample)
        if labels is None or np.ndim(sample.label):  # type: ignore[arg-type]
            return Failure("the sample has no single label to explain", "excluded")
        if not 0 <= labels[0] < len(dataset.classes):
            return Failure(f"label {labels[0]} is outside the {len(dataset.classes)} classes of {dataset.short}")
        name = dataset.classes[labels[0]]
        if name not in self.model.classes:
            return Failure(f"the model has no class {name!r}", "excluded")
        return int(self.model.target(name))


def _names(sample: Sample, dataset: Dataset) -> list[str]:
    """The classes that a sample's labels name."""
    return [dataset.classes[index] for index in label_indices(sample) or [] if 0 <= index < len(dataset.classes)]


def placed(inputs: Mapping[str, Any], device: str) -> dict[str, Any]:
    """A model's further inputs with every tensor on the device."""
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}


def label_indices(sample: Sample) -> list[int] | None:
    """The label as class indices, None where there is none."""
    return None if sample.label is None else [int(index) for index in np.atleast_1d(sample.label)]
