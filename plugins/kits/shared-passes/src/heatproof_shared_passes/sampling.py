"""What passes over many variants of the images share: full passes, and a count that an error decides."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.passes import gradients

Record = TypeVar("Record")


@dataclass(frozen=True)
class Tolerance:
    """A count left open: each sample takes as many passes as its map needs, and never more than ``most``.

    ``error`` is the error of the map that is asked for, relative to the map, both as L2 norms.
    """

    error: float
    most: int


class Sampled(Protocol):
    """What a pass over many variants found: per sample (n,) its backward passes and the relative error of its map."""

    @property
    def passes(self) -> Tensor:
        """Backward passes."""

    @property
    def relative_error(self) -> Tensor:
        """The error; NaN where it cannot be known."""


def sampling_notes(found: Sampled, count: int | Tolerance) -> dict[str, list[Any]]:
    """Notes on the cost and the error of each map; with a ``Tolerance`` also what ended the sampling."""
    error = found.relative_error.detach()
    notes: dict[str, list[Any]] = {"passes": found.passes.tolist()}
    if not bool(error.isnan().all()):
        notes["relative_error"] = error.tolist()
    if isinstance(count, Tolerance):
        notes["stopped_by"] = ["tolerance" if met else "limit" for met in (error <= count.error).tolist()]
    return notes


def variant_gradients(batch: Batch, variants: Iterable[Tensor]) -> Iterator[Tensor]:
    """The gradients (n, c, *space) at each variant (n, c, *space) of the images, in order.

    A pass takes ``rows`` images of any sample and variant, so that a few samples fill it as well as many.
    """
    maps = _singly(batch, variants)
    while made := tuple(islice(maps, len(batch))):
        yield torch.stack(made)


def _singly(batch: Batch, variants: Iterable[Tensor]) -> Iterator[Tensor]:
    pairs = ((owner, image) for images in variants for owner, image in enumerate(images))
    while piece := tuple(islice(pairs, batch.rows)):
        owners, images = zip(*piece)
        yield from gradients(batch.select(owners).at(torch.stack(images), layers=())).images


def norms(maps: Tensor) -> Tensor:
    """The L2 norm of each map (n,)."""
    norms: Tensor = torch.linalg.vector_norm(maps.flatten(1), dim=1)
    return norms


def relative(error: Tensor, maps: Tensor) -> Tensor:
    """The size of an error (n,) relative to the size of its map (n,); 0 where both are 0."""
    return torch.where(error == 0, 0.0, error / norms(maps))


def joined(parts: Sequence[Record]) -> Record:
    """One record of the tensors of several, each (n, …)."""
    kind: Any = type(parts[0])
    made: Record = kind(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(kind)))
    return made
