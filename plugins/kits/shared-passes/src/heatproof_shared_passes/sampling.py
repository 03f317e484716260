"""Gradients at many variants of the images in full passes, and sampling until an error is small enough."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.passes import gradients

Record = TypeVar("Record")
STOPPED_BY = {True: "tolerance", False: "limit"}
"""The note on why sampling stopped, by whether the tolerance was reached."""


@dataclass(frozen=True)
class Tolerance:
    """A stopping rule: each sample takes passes until the error of its map is small enough, at most ``most``.

    ``error`` is the L2 norm of the map's error relative to the L2 norm of the map.
    """

    error: float
    most: int


class Sampled(Protocol):
    """The result of sampling: for each sample (n,) its number of backward passes and the relative error of its map."""

    @property
    def passes(self) -> Tensor:
        """The number of backward passes (n,)."""

    @property
    def relative_error(self) -> Tensor:
        """The relative error (n,); NaN where it cannot be estimated."""


def sampling_notes(result: Sampled, count: int | Tolerance) -> dict[str, list[Any]]:
    """Note the cost and the error of each map; with a ``Tolerance`` also why the sampling stopped."""
    error = result.relative_error.detach()
    notes: dict[str, list[Any]] = {"passes": result.passes.tolist()}
    if not bool(error.isnan().all()):
        notes["relative_error"] = error.tolist()
    if isinstance(count, Tolerance):
        notes["stopped_by"] = [STOPPED_BY[reached] for reached in (error <= count.error).tolist()]
    return notes


def variant_gradients(batch: Batch, variants: Iterable[Tensor]) -> Iterator[Tensor]:
    """Compute the gradients (n, c, *space) at each variant (n, c, *space) of the images, in order.

    A pass takes ``rows`` images of any samples and variants, so a few samples fill it as well as many.
    """
    maps = _single_gradients(batch, variants)
    while sample_maps := tuple(islice(maps, len(batch))):
        yield torch.stack(sample_maps)


def _single_gradients(batch: Batch, variants: Iterable[Tensor]) -> Iterator[Tensor]:
    """The gradients at the single images of all variants, in passes of ``rows`` images."""
    pairs = chain.from_iterable(map(enumerate, variants))
    while piece := tuple(islice(pairs, batch.rows)):
        samples, images = zip(*piece)
        yield from gradients(batch.select(samples).at(torch.stack(images), layers=())).images


def norms(maps: Tensor) -> Tensor:
    """Compute the L2 norm of each map (n,)."""
    norms: Tensor = torch.linalg.vector_norm(maps.flatten(1), dim=1)
    return norms


def relative(error: Tensor, maps: Tensor) -> Tensor:
    """Divide an error (n,) by the L2 norm of its map (n, …); 0 where both are 0."""
    return torch.where(error == 0, 0.0, error / norms(maps))


def joined(parts: Sequence[Record]) -> Record:
    """Concatenate the tensors (n, …) of several records field by field."""
    kind: Any = type(parts[0])
    record: Record = kind(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(kind)))
    return record
