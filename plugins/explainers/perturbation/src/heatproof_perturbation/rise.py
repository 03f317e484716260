"""RISE: the mean of random masks, weighted by the scores of the images that they leave visible."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.records import Array, Explanation
from heatproof.seeding import generator

from .replacement import Value, replacement

ROUNDING = 100
"""Scores that differ by at most this number of machine epsilons, relative to the largest, count as equal."""


class RiseParams(Params):
    """The number of masks (``samples``), how they are drawn, and what hidden pixels show.

    A mask is a grid of ``cells`` per axis, each visible with the probability ``share``, enlarged by linear
    interpolation and moved by a random part of a cell. ``value`` is what hidden pixels show: a constant in prepared
    units, ``mean`` (of each channel over the image) or ``blur`` (the image after a Gaussian filter of ``sigma``
    pixels). ``centred`` subtracts the mean score of all masked images; without it the map is that of the paper.
    """

    samples: int = Field(default=4000, ge=2, le=1_000_000)
    cells: int = Field(default=7, ge=1, le=256)
    share: float = Field(default=0.5, gt=0, lt=1)
    value: Value = 0.0
    sigma: float = Field(default=10.0, gt=0, le=1000)
    centred: bool = True


class Rise(Explainer[RiseParams]):
    """The mean over random masks of mask times score of the masked image, divided by ``share`` (Petsiuk et al. 2018).

    In 2-D and 3-D. The paper's map estimates the expected score of the image if a pixel is visible: all pixels get the
    mean score besides what they add to it. Here the mean score is subtracted from all scores first, so that a pixel
    that adds nothing has a value near 0 and one that speaks against the target a negative one; ``centred: false`` is
    the paper's map, which ranks the pixels alike but for noise. The score is the target's logit; the paper takes the
    probability. Draws depend only on the seed and the sample's id. Notes: ``relative_error`` is the standard error of
    the map over the masks, relative to it in the L2 norm; ``degenerate`` is 1 if all scores are equal up to rounding.
    """

    requires = frozenset()

    @property
    def traits(self) -> frozenset[str]:
        """Seeded; signed if the mean score is subtracted."""
        return frozenset({"seeded", "signed"} if self.params.centred else {"seeded"})

    @property
    def passes(self) -> tuple[int, int]:
        """One forward per mask."""
        return self.params.samples, 0

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        maps, errors, degenerate = zip(*(self._explained(single) for single in batch.singles()))
        notes = {"relative_error": list(errors), "degenerate": list(degenerate)}
        return Explanation(torch.stack(maps)[:, None], notes=notes)

    def _explained(self, batch: Batch) -> tuple[Tensor, float, float]:
        """The map (*space) of a batch of one, its relative error, and 1 if it is degenerate."""
        params = self.params
        rng = generator(batch.seed, batch.ids[0], "rise")
        masks = Masks.drawn(rng, params.samples, params.cells, params.share, batch.space)
        hidden = replacement(batch, params.value, params.sigma, "what a mask hides")

        def act(piece: slice) -> Tensor:
            visible = masks.enlarged(piece, batch.images)
            return batch.score(torch.lerp(hidden, batch.images, visible), [0] * len(visible))

        scores = torch.cat(batch.budget.pieced(params.samples, act)).double()
        rounding = ROUNDING * torch.finfo(batch.images.dtype).eps * float(scores.abs().max())
        degenerate = float(scores.max() - scores.min()) <= rounding
        weights = (scores - scores.mean() if params.centred else scores) / params.share
        mean, error = _moments(weights, masks, batch)
        return mean.to(batch.images), error, float(degenerate)


@dataclass(frozen=True)
class Masks:
    """Random masks of an image: grids (mask, *cells), and the pixels (mask, axis) by which the enlarged ones move."""

    grids: Array
    shifts: Array
    space: tuple[int, ...]

    @classmethod
    def drawn(cls, rng: np.random.Generator, count: int, cells: int, share: float, space: tuple[int, ...]) -> "Masks":
        """Draw ``count`` masks, all grids before all shifts."""
        grids = rng.random((count, *(cells,) * len(space))) < share
        return cls(grids, rng.integers(0, _cell(space, cells), (count, len(space))), space)

    def enlarged(self, piece: slice, images: Tensor) -> Tensor:
        """The masks (n, 1, *space) in a piece, with values in 0…1, in the dtype of the images.

        A grid is enlarged to one cell more than the image has, as in the authors' code, and cut out at the shift.
        """
        values = torch.from_numpy(self.grids[piece]).to(images)
        shifts = torch.from_numpy(self.shifts[piece]).to(images.device)
        cells = values.shape[-1]
        for axis, (length, side) in enumerate(zip(self.space, _cell(self.space, cells))):
            positions = shifts[:, axis, None] + torch.arange(length, device=images.device)
            parts = _interpolation(cells, side, images)[positions]
            # The first axis of cells becomes the last axis of pixels, so that all come in order in the end.
            values = torch.einsum("nc...,npc->n...p", values, parts)
        return values[:, None]


def _cell(space: tuple[int, ...], cells: int) -> list[int]:
    """The pixels of a cell along each axis, rounded up."""
    return [-(-length // cells) for length in space]


def _interpolation(cells: int, side: int, images: Tensor) -> Tensor:
    """The weights (pixel, cell) by which linear interpolation enlarges an axis to one cell of ``side`` pixels more."""
    unit = torch.eye(cells, dtype=images.dtype, device=images.device)[None]
    weights: Tensor = functional.interpolate(unit, size=(cells + 1) * side, mode="linear", align_corners=False)[0].T
    return weights


def _pieces(count: int, rows: int) -> Iterator[slice]:
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


def _moments(weights: Tensor, masks: Masks, batch: Batch) -> tuple[Tensor, float]:
    """The mean of weight times mask (*space), and its standard error relative to it in the L2 norm."""
    count = len(weights)
    total = weights.new_zeros(batch.space)
    squares = weights.new_zeros(batch.space)
    for piece in _pieces(count, batch.rows):
        visible = masks.enlarged(piece, batch.images)[:, 0].double()
        total += torch.tensordot(weights[piece], visible, 1)
        squares += torch.tensordot(weights[piece].square(), visible.square(), 1)
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0) / (count - 1)
    length = float(mean.norm())
    return mean, float(variance.sum().sqrt()) / length if length else 0.0
