"""Batch: prepared samples on the device and everything that may be asked about them once."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from threading import RLock
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .canonical import Opaque, View
from .errors import ModelError
from .keyed import generator
from .model import Model
from .rectification import Cell

Result = TypeVar("Result")


class Batch:
    """Images (n, c, *space) with ids and targets; a shared computation runs once and is freed with the batch.

    ``rows`` bounds how many images are in one pass; ``layers`` names all activations that some explainer of the task
    will ask for; ``seed`` keys every draw together with the sample's id. It holds no annotation and no label.
    """

    def __init__(
        self,
        model: Model,
        ids: Sequence[str],
        images: Tensor,
        targets: Sequence[int] | Tensor,
        *,
        inputs: Mapping[str, Any] | None = None,
        layers: Sequence[str] = (),
        rows: int | None = None,
        seed: int = 0,
        output: str = "logits",
        differentiable: bool = False,
    ):
        self.model, self.ids, self.images = model, tuple(ids), images
        self.targets = torch.as_tensor(targets, dtype=torch.long, device=images.device)
        self.inputs, self.layers = dict(inputs or {}), tuple(layers)
        self.rows, self.seed = rows or len(self.ids), seed
        self.output, self.differentiable = output, differentiable
        self._results: dict[Hashable, Any] = {}
        self._lock = RLock()
        if not len(self.ids) == len(images) == len(self.targets):
            raise ModelError(
                f"a batch has one image and one target per id; these are {len(self.ids)} ids, {len(images)} images and "
                f"{len(self.targets)} targets."
            )

    def __len__(self) -> int:
        return len(self.ids)

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
            return self._results[key]  # type: ignore[no-any-return]

    def at(
        self,
        images: Tensor | None = None,
        targets: Sequence[int] | Tensor | None = None,
        layers: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> "Batch":
        """The same samples with other images (noisy, inpainted), targets, layers or seed, and results of its own.

        Where the images stay, the logits stay too.
        """
        made = self._like(
            self.ids,
            self.images if images is None else images,
            self.targets if targets is None else torch.as_tensor(targets),
            self.inputs,
        )
        made.layers = self.layers if layers is None else tuple(layers)
        made.seed = self.seed if seed is None else seed
        if images is None and "logits" in self._results:
            made._results["logits"] = self._results["logits"]
        return made

    def select(self, index: Sequence[int]) -> "Batch":
        """The samples at these positions, with results of their own."""
        chosen = list(index)
        inputs = {name: _chosen(value, chosen, len(self)) for name, value in self.inputs.items()}
        return self._like([self.ids[i] for i in chosen], self.images[chosen], self.targets[chosen], inputs)

    def singles(self) -> Iterator["Batch"]:
        """One batch per sample."""
        return (self.select([index]) for index in range(len(self)))

    def pieces(self) -> Iterator["Batch"]:
        """This batch in parts of at most ``rows`` samples."""
        if len(self) <= self.rows:
            yield self
            return
        for start in range(0, len(self), self.rows):
            yield self.select(range(start, min(start + self.rows, len(self))))

    def forward(
        self, images: Tensor | None = None, capture: Sequence[str] = (), cell: Cell | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The output that is explained (n, class), and the activations of the layers in ``capture``.

        With a ``cell`` the activations obey its rule in the backward of this forward.
        """
        outputs, activations = self.view(self.images if images is None else images, self.inputs, capture, cell)
        if self.output not in outputs:
            raise ModelError(f"{self.model.short} has no output {self.output!r}; it has {', '.join(outputs)}.")
        return outputs[self.output], activations

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
        scores = []
        for start in range(0, len(owners), self.rows):
            piece = self.select(owners[start : start + self.rows]).at(images[start : start + self.rows])
            scores.append(piece.pick(piece.forward()[0]))
        return torch.cat(scores)

    def noise(self, draw: int) -> Tensor:
        """Standard normal noise (n, c, *space): it depends on seed, sample id and draw, on nothing else."""
        shape = tuple(self.images.shape[1:])
        draws = [generator(self.seed, id, "noise", draw).standard_normal(shape) for id in self.ids]
        return torch.from_numpy(np.stack(draws)).to(self.images)

    def uniform(self, draw: int) -> Tensor:
        """Uniform noise in [0, 1) (n, *space), keyed like ``noise``."""
        draws = [generator(self.seed, id, "uniform", draw).random(self.space) for id in self.ids]
        return torch.from_numpy(np.stack(draws)).to(self.images)

    def _like(self, ids: Sequence[str], images: Tensor, targets: Tensor, inputs: Mapping[str, Any]) -> "Batch":
        return Batch(
            self.model, ids, images, targets, inputs=inputs, layers=self.layers, rows=self.rows, seed=self.seed,
            output=self.output, differentiable=self.differentiable,
        )  # fmt: skip


def _chosen(value: Any, index: list[int], size: int) -> Any:
    """The rows of an input that has one row per sample; other inputs are shared by all."""
    if isinstance(value, Tensor) and value.ndim and len(value) == size:
        return value[index]
    return value
