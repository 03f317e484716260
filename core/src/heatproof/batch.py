"""Batch: prepared samples on the device, and the computations that explainers and metrics share."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from threading import RLock
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from .errors import DataError, ModelError
from .model import Model
from .network.opaque import Opaque
from .network.views import Cell, View
from .records import Sample
from .regions import summed
from .seals import Original, Seal, sealed
from .seeding import generator

Result = TypeVar("Result")
Request = tuple[str, ...]
"""What an explainer needs of a shared pass: the name of the pass, its settings, and last the name of one result.

Requests that differ only in the last word share one forward pass; each has its own backward pass.
"""
OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)


@dataclass
class Budget:
    """The most images per pass, shared by a batch and all batches made from it; ``halved`` once memory ran out."""

    rows: int
    halved: bool = False

    def pieced(self, count: int, act: Callable[[slice], Result], most: int | None = None) -> list[Result]:
        """Call ``act`` on slices of ``count`` items, at most ``rows`` or ``most``; halve one too large for memory."""
        results: list[Result] = []
        start = 0
        while start < count:
            piece = slice(start, min(start + min(self.rows, most or self.rows), count))
            try:
                results.append(act(piece))
                start = piece.stop
            except OUT_OF_MEMORY:
                if piece.stop - start == 1:
                    raise
                self.rows = (piece.stop - start) // 2
                self.halved = True
        return results


class Batch:
    """Images (n, c, *space) with ids and targets; a shared computation runs once and is freed with the batch.

    ``rows`` is the most images per pass. ``layers`` and ``requests`` list what all explainers of the task need, to be
    computed together when the first explainer needs it. ``seed`` and the sample's id seed all random numbers.
    ``field`` (n, *space) bool is the field of view; by default, the whole image. ``region`` (n, *grid) are the weights
    by which logits per pixel are summed to scores. A batch has no annotations or labels.
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
        region: Tensor | None = None,
        layers: Sequence[str] = (),
        requests: Sequence[Request] = (),
        rows: int | Budget | None = None,
        seed: int = 0,
        output: str | None = None,
        differentiable: bool = False,
    ):
        self.model = model
        self.ids = tuple(ids)
        self.images = images
        self.targets = torch.as_tensor(targets, dtype=torch.long, device=images.device)
        self.inputs = dict(inputs or {})
        self.region = region
        self.layers = tuple(layers)
        self.requests = tuple(requests)
        self.budget = rows if isinstance(rows, Budget) else Budget(rows or len(self.ids))
        self.seed = seed
        self.output = output or model.explained
        self.differentiable = differentiable
        self._results: dict[Hashable, tuple[Any, list[Seal]]] = {}
        self._damaged = False
        self.reduced: list[Hashable] = []
        self._lock = RLock()
        self.undisturbed: Callable[[], bool] = lambda: True
        if not len(self.ids) == len(images) == len(self.targets):
            counts = f"{len(self.ids)} ids, {len(images)} images and {len(self.targets)} targets"
            raise ModelError(f"a batch has one image and one target per id; these are {counts}.")
        self.field = torch.ones_like(images[:, 0], dtype=torch.bool) if field is None else field

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> int:
        """The most images per pass."""
        return self.budget.rows

    @property
    def space(self) -> tuple[int, ...]:
        """The spatial shape."""
        return tuple(self.images.shape[2:])

    @property
    def alike(self) -> bool:
        """Whether equal images have equal scores: the samples differ neither in further inputs nor in their regions."""
        return not self.inputs and self.region is None

    @property
    def view(self) -> View | Opaque:
        """The folded view; the canonical one, with the trained Parameters, where a training loss needs gradients."""
        return self.model.view(self.images, self.inputs, folded=not self.differentiable)

    def once(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """The result of ``compute``, computed once per batch; ``key`` must name all other inputs of the computation.

        A result is not shared if it is computed while a plugin has changed the network or the process.
        """
        if self.differentiable:
            return compute()
        with self._lock:
            if key not in self._results:
                if not self.undisturbed():
                    return compute()
                result = compute()
                self._results[key] = result, sealed(result)
            return cast(Result, self._results[key][0])

    def release(self, key: Hashable, reduce: Callable[[Any], Any]) -> None:
        """Replace a shared result, if it was computed, by ``reduce(result)`` to free memory."""
        with self._lock:
            if key in self._results:
                self._check(key)
                self.reduced.append(key)
                result = reduce(self._results[key][0])
                self._results[key] = result, sealed(result)

    def forget(self, key: Hashable) -> None:
        """Free a shared result, if it was computed."""
        with self._lock:
            self._check(key)
            self._results.pop(key, None)

    def shared(self) -> dict[Hashable, Any]:
        """The shared results that were computed and not freed."""
        with self._lock:
            return {key: result for key, (result, _) in self._results.items()}

    @cached_property
    def originals(self) -> list[Original]:
        """The tensors of the batch as they were when this was first read."""
        named = {"images": self.images, "targets": self.targets, "field": self.field, "region": self.region}
        named |= self.inputs
        return [Original.of(name, value) for name, value in named.items() if isinstance(value, Tensor)]

    def keep(self, results: Mapping[Hashable, Any]) -> None:
        """Free all shared results except ``results``, and those of them that were written to."""
        with self._lock:
            others = [key for key, result in self.shared().items() if results.get(key) is not result]
            for key in {*others, *self.moved()}:
                self.forget(key)

    def moved(self) -> list[Hashable]:
        """The keys of shared results with tensors that were written to, as far as their versions show."""
        with self._lock:
            return [key for key, (_, seals) in self._results.items() if any(seal.moved() for seal in seals)]

    def damaged(self) -> bool:
        """Whether a shared result, also one freed since, or a tensor of the batch was written to, by their content."""
        with self._lock:
            for key in self._results:
                self._check(key)
            return self._damaged or any(original.damaged() for original in self.originals)

    def _check(self, key: Hashable) -> None:
        _, seals = self._results.get(key, (None, []))
        self._damaged |= any(seal.broken() for seal in seals)

    def at(
        self,
        images: Tensor | None = None,
        targets: Sequence[int] | Tensor | None = None,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
        region: Tensor | None = None,
    ) -> "Batch":
        """A batch of the same samples with other images (noisy, inpainted), targets, layers, seed or regions.

        It shares no results except the outputs of unchanged images; new images have the same regions and no requests.
        """
        arguments = {"images": images, "targets": targets, "layers": layers, "seed": seed, "region": region}
        changes: dict[str, Any] = {name: value for name, value in arguments.items() if value is not None}
        if images is not None:
            return self._like(requests=(), **changes)
        batch = self._like(**changes)
        if "outputs" in self._results:
            batch._results["outputs"] = self._results["outputs"]
        return batch

    def select(self, index: Sequence[int]) -> "Batch":
        """A batch of the samples at these positions; it shares no results."""
        rows = list(index)
        return self._like(
            ids=[self.ids[row] for row in rows],
            images=self.images[rows],
            targets=self.targets[rows],
            inputs={name: _rows_of(value, rows, len(self)) for name, value in self.inputs.items()},
            field=self.field[rows],
            region=None if self.region is None else self.region[rows],
        )

    def singles(self) -> Iterator["Batch"]:
        """One batch per sample."""
        return (self.select([index]) for index in range(len(self)))

    def pieced(self, act: Callable[["Batch"], Result]) -> list[Result]:
        """Call ``act`` on parts of at most ``rows`` samples; halve a part that does not fit into memory."""
        positions = range(len(self))
        return self.budget.pieced(
            len(self), lambda piece: act(self if len(positions[piece]) == len(self) else self.select(positions[piece]))
        )

    def forward(
        self, images: Tensor | None = None, capture: Sequence[str] = (), cell: Cell | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The explained output (n, class), and the activations of layers; ``View`` describes the arguments.

        Logits per pixel are summed over the regions.
        """
        outputs, activations = self.evaluate(images, capture, cell)
        return self.summed(self.explained(outputs)), activations

    def evaluate(
        self, images: Tensor | None = None, capture: Sequence[str] = (), cell: Cell | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """All outputs of the network by name, and the activations of layers, from one forward pass."""
        if images is None:
            images = self.images
        return self.view(images, self.inputs, capture, cell)

    def explained(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """The explained output of a network: logits (n, class), or logits per pixel (n, class, *grid).

        Raises ``ModelError`` where there is none.
        """
        if self.output not in outputs:
            names = ", ".join(outputs)
            raise ModelError(
                f"{self.model.short} has no output {self.output!r}; it has {names}. Name them in the model's outputs."
            )
        return outputs[self.output]

    def summed(self, logits: Tensor) -> Tensor:
        """The scores (n, class) of an explained output: the sum of logits per pixel over the regions, or the logits.

        Raises ``ModelError`` for logits per pixel without regions, and for regions without logits per pixel.
        """
        return summed(logits, self.region, self.model.short)

    def pick(self, logits: Tensor) -> Tensor:
        """The target's score of each row (n, …), from logits (n, logit, …) as ``Model.scores`` reads them."""
        scores = self.model.scores(logits)
        if scores.shape[1] == 1:
            return scores[:, 0]
        outside = (self.targets < 0) | (self.targets >= scores.shape[1])
        if bool(outside.any()):
            target = int(self.targets[outside][0])
            raise ModelError(f"target {target} is outside the {scores.shape[1]} classes of {self.model.short}.")
        index = self.targets.reshape(-1, *(1,) * (scores.ndim - 1)).expand(-1, 1, *scores.shape[2:])
        return scores.gather(1, index)[:, 0]

    @torch.no_grad()
    def score(self, images: Tensor, index: Sequence[int] | None = None) -> Tensor:
        """Target scores (m,) of variants (m, c, *space), ``rows`` per pass; ``index`` (m,) is the sample of each."""
        if index is None:
            index = range(len(self))
        if len(index) != len(images):
            raise ModelError(f"there are {len(images)} variants and {len(index)} indices; give one index per variant.")
        variants = self.select(index).at(images)
        return torch.cat(variants.pieced(lambda piece: piece.pick(piece.forward()[0])))

    def noise(self, draw: int) -> Tensor:
        """Standard normal noise (n, c, *space) that depends only on seed, sample id and ``draw``."""
        shape = tuple(self.images.shape[1:])
        draws = [generator(self.seed, id, "noise", draw).standard_normal(shape) for id in self.ids]
        return torch.from_numpy(np.stack(draws)).to(self.images)

    def uniform(self, draw: int) -> Tensor:
        """Uniform noise in [0, 1) (n, *space) that depends on the same values as ``noise``."""
        draws = [generator(self.seed, id, "uniform", draw).random(self.space) for id in self.ids]
        return torch.from_numpy(np.stack(draws)).to(self.images)

    def _like(self, **changes: Any) -> "Batch":
        """A batch with the same arguments except ``changes``; it shares no results."""
        arguments = {name: getattr(self, name) for name in ARGUMENTS}
        return Batch(**arguments | {"rows": self.budget} | changes)


ARGUMENTS = tuple(signature(Batch).parameters)


def fields(samples: Sequence[Sample]) -> Tensor:
    """The fields of view (n, *space) bool; the whole image of a sample without one."""
    masks = [np.ones(sample.space, bool) if sample.field is None else sample.field for sample in samples]
    return torch.from_numpy(np.stack(masks))


def require_finite(images: Tensor, ids: Sequence[str], subject: str, advice: str) -> Tensor:
    """The images (n, c, *space) themselves; raises ``DataError`` naming the first id with NaN or infinity.

    Activations would turn such values into a map of zeros. ``subject`` says what the images are, such as ``the image``.
    """
    broken = ~images.isfinite().flatten(1).all(1)
    if bool(broken.any()):
        id = ids[int(broken.nonzero()[0])]
        raise DataError(f"{subject} of {id} holds values that are not finite; {advice}.")
    return images


def _rows_of(value: Any, index: list[int], size: int) -> Any:
    """The rows of an input that has one row per sample; all of any other input."""
    if isinstance(value, Tensor) and value.ndim and len(value) == size:
        return value[index]
    return value
