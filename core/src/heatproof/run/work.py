"""One task under way in this process, and the batches that its samples make."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch

from ..batch import OUT_OF_MEMORY, Batch, fields
from ..model import Model
from ..plan.task import Task
from ..records import Sample
from ..results.store import Run
from .batch_size import placed, settled_rows
from .outcome import Failure, Outcome
from .residence import resident
from .samples import Samples

Result = TypeVar("Result")


@dataclass(frozen=True)
class Work:
    """A task, the folder that it commits to, and what it comes to."""

    run: Run
    task: Task
    outcome: Outcome

    @cached_property
    def model(self) -> Model:
        """The task's model, as this process holds it."""
        return resident(self.task.model)

    @cached_property
    def samples(self) -> Samples:
        """The task's samples."""
        return Samples(self.task, self.model, self.outcome)

    @cached_property
    def rows(self) -> int:
        """How many images one pass takes."""
        return settled_rows(self.run, replace(self.task, model=self.model))

    def batches(self) -> Iterator[tuple[Batch, Sequence[Sample]]]:
        """The readable samples in batches of ``rows``, always the same for the same task."""
        readable = self.samples.arriving()
        while some := list(islice(readable, self.rows)):
            yield from self._batches(some)

    def _batches(self, samples: Sequence[Sample]) -> Iterator[tuple[Batch, Sequence[Sample]]]:
        """Samples in one batch, or in halves until one that cannot be in any fails alone."""
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
        """Prepared samples as a batch on the task's device; targets are set later."""
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(self.task.device)
        inputs = placed(self.model.collate(samples), self.task.device)
        ids = [sample.id for sample in samples]
        return Batch(
            self.model, ids, images, [0] * len(ids), inputs=inputs, field=fields(samples).to(self.task.device),
            layers=self.task.layers, requests=self.task.requests, rows=self.rows, seed=self.task.seed,
        )  # fmt: skip

    def divided(
        self, batch: Batch, act: Callable[[Batch], Mapping[str, Result]], what: str, mark: Callable[[Result], Result]
    ) -> dict[str, Result | Failure]:
        """What ``act`` makes of a batch, by id; when it raises, the batch is split until the culprit alone fails.

        Where memory ran out, ``mark`` notes it in what the parts gave.
        """
        try:
            return dict(act(batch))
        except Exception as error:
            if len(batch) == 1:
                return {batch.ids[0]: self.outcome.failure(f"{what} of {batch.ids[0]}", error)}
            exhausted = isinstance(error, OUT_OF_MEMORY)
        # Only here, when the error is gone, are the tensors free that did not fit.
        middle = len(batch) // 2
        results: dict[str, Any] = {}
        for half in (range(middle), range(middle, len(batch))):
            results |= self.divided(batch.select(half), act, what, mark)
        if not exhausted:
            return results
        return {id: result if isinstance(result, Failure) else mark(result) for id, result in results.items()}
