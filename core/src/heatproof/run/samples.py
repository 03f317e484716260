"""The prepared samples of a task, read once and several at a time; unreadable ones become failures."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import torch

from ..errors import DataError
from ..imaging.images import READERS
from ..model import Model
from ..plan.sample_cache import prepared
from ..plan.task import Task
from ..process_state import Process
from ..records import Sample
from ..watch import settled
from .outcome import Failure, Outcome

Reading = Callable[[], Sample]
"""Returns a sample, or raises the error of its reading."""


class Samples:
    """The samples of a task as its model prepares them, by id and in order."""

    def __init__(self, task: Task, model: Model, outcome: Outcome):
        self.task = task
        self.model = model
        self.outcome = outcome
        self._read: dict[str, Sample | Failure] = {}
        self._complete = False

    def all(self) -> dict[str, Sample | Failure]:
        """Every sample of the task by id, or its failure."""
        for _ in self.arriving():
            pass
        return self._read

    def fail(self, id: str, failure: Failure) -> None:
        """Replace a sample that cannot be used by a failure."""
        self._read[id] = failure

    def fail_all(self, failure: Failure) -> None:
        """Replace all samples by a failure, without reading them."""
        self._read = dict.fromkeys(self.task.ids, failure)
        self._complete = True

    def arriving(self) -> Iterator[Sample]:
        """Yield the readable samples in order, as they are read."""
        if self._complete:
            yield from (sample for sample in self._read.values() if isinstance(sample, Sample))
            return
        earlier: Sample | None = None
        for id, read in self._reads():
            with self.outcome.clock("decoding"):
                sample = self._read[id] = self._checked(id, read, earlier)
            if isinstance(sample, Sample):
                earlier = earlier or sample
                yield sample
        self._complete = True
        self._require_unchanged()
        self.outcome.messages += prepared(self.task.cache).take_messages()

    def _require_unchanged(self) -> None:
        """Raise ``DataError`` if files are not those of the plan, since the keys of all units contain their digest."""
        dataset = self.task.source.dataset
        ids = self.task.ids
        # Where any file may belong to any sample, files of other programs count too, such as those of this run.
        if dataset.files_of(ids[0]) is None:
            return
        if prepared(self.task.cache).contents.of(dataset, *ids) != self.task.contents:
            raise DataError(
                f"files of {dataset.short} changed while the run was reading them, among those of {ids[0]} to "
                f"{ids[-1]}; run the same command again: everything committed so far is kept."
            )

    def _reads(self) -> Iterator[tuple[str, Reading]]:
        """Yield every id with a function that returns its sample or raises; several threads read at a time."""
        load = partial(prepared(self.task.cache).sample, self.task.source.dataset, self.model)
        threads = min(torch.get_num_threads(), READERS, len(self.task.ids) - 1)
        if threads < 2:
            yield from self._one_by_one(load, self.task.ids)
            return
        # The first sample is read alone: a dataset reads its tables then, and only once.
        first, *others = self.task.ids
        yield from self._one_by_one(load, [first])
        pool = ThreadPoolExecutor(threads, "heatproof-reader")
        try:
            futures = [pool.submit(load, id) for id in others]
            if self.task.device == "cpu":
                # Readers and torch must not compete for cores: torch's threads wait for the slowest of them.
                process = Process()
                with self.outcome.clock("decoding"):
                    wait(futures)
                if process.undo():
                    yield from self._one_by_one(load, others)
                    return
            yield from ((id, future.result) for id, future in zip(others, futures))
        finally:
            pool.shutdown(cancel_futures=True)

    def _one_by_one(self, load: Callable[[str], Sample], ids: Sequence[str]) -> Iterator[tuple[str, Reading]]:
        """Yield ids with functions that read in this thread; a sample whose reading changes the process fails."""
        name = f"{self.task.source.dataset.short}, prepared for {self.model.short},"
        yield from ((id, partial(settled, name, partial(load, id))) for id in ids)

    def _checked(self, id: str, read: Reading, earlier: Sample | None) -> Sample | Failure:
        """Read a sample and check its id and its grid against an earlier one; a failure if anything is wrong."""
        try:
            sample = read()
            if sample.id != id:
                raise DataError(f"{self.task.source.dataset.short} gave sample {sample.id!r} for the id {id!r}")
            if earlier is not None and sample.image.shape != earlier.image.shape:
                raise DataError(
                    f"the prepared image has shape {sample.image.shape}, that of {earlier.id} {earlier.image.shape}; "
                    f"{self.model.short} must prepare every image to one grid, where channels of its preparation makes "
                    "grey and colour alike"
                )
            return sample
        except Exception as error:
            return self.outcome.failure(f"sample {id}", error)
