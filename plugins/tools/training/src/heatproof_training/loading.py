"""Batches of prepared samples: read and augmented by threads while the network works on the batch before."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heatproof.batch import Batch, fields
from heatproof.errors import DataError
from heatproof.model import Model
from heatproof.records import Sample
from heatproof.seeding import generator

from .augmentation import AugmentationSettings, augmented
from .cohort import Cohort
from .sampling import Draw

AHEAD = 2
"""The batches that are read ahead."""


class Loader:
    """Reads the batches of an epoch; ``waited`` counts the seconds in which the network had nothing to do."""

    def __init__(self, cohort: Cohort, threads: int):
        self.cohort = cohort
        self.pool = ThreadPoolExecutor(threads)
        self.waited = 0.0

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(cancel_futures=True)

    def training(
        self, parts: Sequence[Sequence[Draw]], settings: AugmentationSettings, seed: int, epoch: int
    ) -> Iterator[list[Sample]]:
        """Yield augmented samples or patches, batch by batch; changes depend on seed, epoch, id and repetition only."""

        def read(draw: Draw) -> Sample:
            rng = generator(seed, "augment", epoch, draw.id, draw.repetition)
            return augmented(self.cohort.random_piece(draw.id, rng), settings, rng)

        return self._batches(parts, read)

    def plain(self, parts: Sequence[Sequence[Draw]]) -> Iterator[list[Sample]]:
        """Yield unchanged samples or patches, batch by batch."""
        return self._batches(parts, lambda draw: self.cohort.piece(draw.id, draw.start))

    def _batches(self, parts: Sequence[Sequence[Draw]], read: Callable[[Draw], Sample]) -> Iterator[list[Sample]]:
        waiting: list[list[Future[Sample]]] = []
        remaining = iter(parts)
        try:
            while True:
                while len(waiting) <= AHEAD and (part := next(remaining, None)) is not None:
                    waiting.append([self.pool.submit(read, draw) for draw in part])
                if not waiting:
                    return
                start = time.perf_counter()
                samples = [future.result() for future in waiting.pop(0)]
                self.waited += time.perf_counter() - start
                yield samples
        finally:
            for future in (future for part in waiting for future in part):
                future.cancel()


def batch_of(model: Model, samples: Sequence[Sample], device: torch.device, seed: int, channels_last: bool) -> Batch:
    """Return a differentiable batch of prepared samples on a device; raises ``DataError`` for unequal sizes."""
    first = samples[0].image.shape
    for sample in samples:
        if sample.image.shape != first:
            raise DataError(
                f"the prepared image of {sample.id} has shape {sample.image.shape}, that of {samples[0].id} {first}; "
                "a batch needs images of one shape: choose a preparation with a fixed size and number of channels."
            )
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).to(device, model.dtype)
    if channels_last and images.ndim == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    targets = [int(label[0]) if len(label) else 0 for label in map(_labels, samples)]
    inputs = {name: _on(value, device, model.dtype) for name, value in model.collate(samples).items()}
    return Batch(
        model, [sample.id for sample in samples], images, targets, inputs=inputs, field=fields(samples).to(device),
        seed=seed, differentiable=True,
    )  # fmt: skip


def _labels(sample: Sample) -> Sequence[int]:
    if sample.label is None:
        return ()
    return list(np.atleast_1d(np.asarray(sample.label, dtype=np.int64)))


def _on(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """A further input of the network on its device; tensors of float32 get the type of the images."""
    if not isinstance(value, Tensor):
        return value
    return value.to(device, dtype if value.dtype == torch.float32 else None)
