"""Batch: prepared samples on the device and everything that may be asked about them once."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from threading import RLock
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .errors import ModelError
from .model import Model
from .network.views import Cell, Opaque, View
from .records import Sample
from .seeding import generator

Result = TypeVar("Result")
Request = tuple[str, ...]
"""What an explainer asks of a shared pass: the name of the pass, its settings, and last which of its results.

The requests of one target that are alike in all but the last word share a forward; each has a backward to itself.
"""
OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)


@dataclass
class Budget:
    """How many images one pass may take, for a batch and all that are made of it; ``halved`` where memory ran out."""

    rows: int
    halved: bool = False

    def pieced(self, count: int, act: Callable[[slice], Result], most: int | None = None) -> list[Result]:
        """What ``act`` makes of so many things in pieces of ``rows``, or ``most``; one that does not fit is halved."""
        made: list[Result] = []
        start = 0
        while start < count:
            piece = slice(start, min(start + min(self.rows, most or self.rows), count))
            try:
                made.append(act(piece))
                start = piece.stop
            except OUT_OF_MEMORY:
                if piece.stop - start == 1:
                    raise
                self.rows, self.halved = (piece.stop - start) // 2, True
        return made


class Batch:
    """Images (n, c, *space) with ids and targets; a shared computation runs once and is freed with the batch.

    ``rows`` bounds how many images are in one pass; ``layers`` names all activations that some explainer of the
    task will ask for, and ``requests`` all that they will ask of shared passes, so that whoever asks first has it done
    for all; ``seed`` keys every draw together with the sample's id; ``field`` (n, *space) bool is true where there is
    image, everywhere if not given. It holds no annotation and no label.
    """

    def __init__(
        self,
        model: Model,
        ids: Sequence[str],
        images: Tensor,
        targets: Sequence[int] | Tensor,
        *,
        inputs: Mapping[str, Any] | None = None,
        field: Tensor | None = None,
        layers: Sequence[str] = (),
        requests: Sequence[Request] = (),
        rows: int | Budget | None = None,
        seed: int = 0,
        output: str = "logits",
        differentiable: bool = False,
    ):
        self.model, self.ids, self.images = model, tuple(ids), images
        self.targets = torch.as_tensor(targets, dtype=torch.long, device=images.device)
        self.inputs, self.layers, self.requests = dict(inputs or {}), tuple(layers), tuple(requests)
        self.budget = rows if isinstance(rows, Budget) else Budget(rows or len(self.ids))
        self.seed = seed
        self.output, self.differentiable = output, differentiable
        self._results: dict[Hashable, Any] = {}
        self._lock = RLock()
        if not len(self.ids) == len(images) == len(self.targets):
            raise ModelError(
                f"a batch has one image and one target per id; these are {len(self.ids)} ids, {len(images)} images and "
                f"{len(self.targets)} targets."
            )
        self.field = torch.ones_like(images[:, 0], dtype=torch.bool) if field is None else field

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> int:
        """How many images one pass takes."""
        return self.budget.rows

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial shape."""
        return tuple(self.images.shape[2:])

    @property
    def view(self) -> View | Opaque:
        """The folded view; the canonical one, with the trained Parameters, where a training loss needs the graph."""
        return self.model.view(self.images, self.inputs, folded=not self.differentiable)

    def once(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """The result of ``compute``, computed once per batch; the key names all it depends on besides the batch."""
        if self.differentiable:
            return compute()
        with self._lock:
            if key not in self._results:
                self._results[key] = compute()
            result: Result = self._results[key]
            return result

    def release(self, key: Hashable, reduce: Callable[[Any], Any]) -> None:
        """Keep only what ``reduce`` leaves of a shared result, if it was computed, so that the rest is freed."""
        with self._lock:
            if key in self._results:
                self._results[key] = reduce(self._results[key])

    def forget(self, key: Hashable) -> None:
        """Free a shared result, if it was computed, once nobody will ask for it any more."""
        with self._lock:
            self._results.pop(key, None)

    def at(
        self,
        images: Tensor | None = None,
        targets: Sequence[int] | Tensor | None = None,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> "Batch":
        """The same samples with other images (noisy, inpainted), targets, layers or seed, and results of its own.

        Where the images stay, the logits stay too; no request is planned for other images.
        """
        changes = {"images": images, "targets": targets, "layers": layers, "seed": seed}
        requests = self.requests if images is None else ()
        moved = self._like(requests=requests, **{name: value for name, value in changes.items() if value is not None})
        if images is None and "logits" in self._results:
            moved._results["logits"] = self._results["logits"]
        return moved

    def select(self, index: Sequence[int]) -> "Batch":
        """The samples at these positions, with results of their own."""
        rows = list(index)
        return self._like(
            ids=[self.ids[row] for row in rows],
            images=self.images[rows],
            targets=self.targets[rows],
            inputs={name: _rows_of(value, rows, len(self)) for name, value in self.inputs.items()},
            field=self.field[rows],
        )

    def singles(self) -> Iterator["Batch"]:
        """One batch per sample."""
        return (self.select([index]) for index in range(len(self)))

    def pieced(self, act: Callable[["Batch"], Result]) -> list[Result]:
        """What ``act`` makes of this batch in parts of at most ``rows`` samples; a part that does not fit is halved."""
        count = len(self)
        return self.budget.pieced(
            count, lambda piece: act(self if piece == slice(0, count) else self.select(range(count)[piece]))
        )

    def forward(
        self, images: Tensor | None = None, capture: Sequence[str] = (), cell: Cell | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The output that is explained (n, class), and the activations of the layers in ``capture``.

        With a ``cell`` the activations obey its rule in the backward of this forward.
        """
        outputs, activations = self.view(self.images if images is None else images, self.inputs, capture, cell)
        return self.explained(outputs), activations

    def explained(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """The output that is explained (n, class), among those of a network; raises ``ModelError`` for any other."""
        if self.output not in outputs:
            raise ModelError(f"{self.model.short} has no output {self.output!r}; it has {', '.join(outputs)}.")
        found = outputs[self.output]
        if found.ndim != 2:
            raise ModelError(
                f"{self.model.short} gives {self.output!r} of shape {tuple(found.shape)}; what is explained must have "
                "one row of logits per image."
            )
        return found

    def pick(self, logits: Tensor) -> Tensor:
        """The target's score of each row (n,); with one logit every target is that logit."""
        if logits.shape[1] == 1:
            return logits[:, 0]
        outside = (self.targets < 0) | (self.targets >= logits.shape[1])
        if bool(outside.any()):
            raise ModelError(
                f"target {int(self.targets[outside][0])} is outside the {logits.shape[1]} classes of "
                f"{self.model.short}."
            )
        return logits.gather(1, self.targets[:, None])[:, 0]

    @torch.no_grad()
    def score(self, images: Tensor, index: Sequence[int] | None = None) -> Tensor:
        """Target scores (m,) of variants (m, c, *space), in pieces of ``rows``; ``index`` says whose each is."""
        owners = list(range(len(self))) if index is None else list(index)
        if len(owners) != len(images):
            raise ModelError(f"{len(images)} variants belong to {len(owners)} samples; give one index per variant.")
        variants = self.select(owners).at(images)
        return torch.cat(variants.pieced(lambda piece: piece.pick(piece.forward()[0])))

    def noise(self, draw: int) -> Tensor:
        """Standard normal noise (n, c, *space): it depends on seed, sample id and draw, on nothing else."""
        shape = tuple(self.images.shape[1:])
        draws = [generator(self.seed, id, "noise", draw).standard_normal(shape) for id in self.ids]
        return torch.from_numpy(np.stack(draws)).to(self.images)

    def uniform(self, draw: int) -> Tensor:
        """Uniform noise in [0, 1) (n, *space), keyed like ``noise``."""
        draws = [generator(self.seed, id, "uniform", draw).random(self.space) for id in self.ids]
        return torch.from_numpy(np.stack(draws)).to(self.images)

    def _like(self, **changes: Any) -> "Batch":
        """A batch that is made as this was but for these arguments, with results of its own."""
        same = {name: getattr(self, name) for name in signature(Batch).parameters}
        return Batch(**same | {"rows": self.budget} | changes)


def fields(samples: Sequence[Sample]) -> Tensor:
    """Where there is image (n, *space) bool; everywhere in a sample without a field."""
    found = [np.ones(sample.space, bool) if sample.field is None else sample.field for sample in samples]
    return torch.from_numpy(np.stack(found))


def _rows_of(value: Any, index: list[int], size: int) -> Any:
    """The rows of an input that has one row per sample; other inputs are shared by all."""
    if isinstance(value, Tensor) and value.ndim and len(value) == size:
        return value[index]
    return value
