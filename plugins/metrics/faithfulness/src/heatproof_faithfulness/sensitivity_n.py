"""Sensitivity-n: does the relevance of a set of pixels say how far the score falls without them?"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from heatproof.errors import Undefined
from heatproof.metric import Case
from heatproof.model import Model
from heatproof.records import Array
from heatproof.seeding import generator

from .perturbation import Baseline, Faithfulness, FaithfulnessParams, predictions, replacement
from .ranking import examined_field, finite_heatmap, patches

ROUNDING = 100
"""Sums and scores that differ by at most this number of machine epsilons of the largest count as equal."""
Percentage = Annotated[float, Field(gt=0, lt=100)]


class SensitivityNParams(FaithfulnessParams):
    """For each of the ``percentages`` of pixels, ``subsets`` random sets of as many pixels are replaced.

    ``patch`` takes squares of so many pixels along each side instead of single pixels. ``baseline`` and ``sigma`` are
    those of deletion; the paper's baseline is 0.
    """

    percentages: tuple[Percentage, ...] = Field((1, 5, 20, 50, 80), min_length=1, max_length=1000)
    subsets: int = Field(50, ge=3, le=100_000)
    patch: int = Field(1, ge=1, le=10_000)
    baseline: Baseline = 0.0
    sigma: float = Field(5.0, gt=0, le=1000)
    of: Literal["probability", "logit"] = "logit"


class SensitivityN(Faithfulness[SensitivityNParams]):
    """How well does the summed relevance of n random pixels predict the fall of the score without them? (sensitivity-n)

    ``curve`` is the correlation (Pearson) of the two over the sets of each size n, NaN where all sets have the same
    relevance or the same score; ``value`` is its mean, in [-1, 1], the larger the better. The sets are drawn by seed
    and id: all heatmaps of an image get the same. A random heatmap is expected to reach 0.

    Ancona et al., "Towards better understanding of gradient-based attribution methods for deep neural networks", ICLR
    2018.
    """

    def cost(self, model: Model, space: tuple[int, ...], explanation: tuple[int, int]) -> tuple[int, int]:
        """Count one forward per set of pixels."""
        return len(self.params.percentages) * self.params.subsets, 0

    def expected(self, measure: str) -> float | None:
        """Return 0 for ``value`` over single pixels; patches that the border cuts differ in size, so None."""
        if measure == "value" and self.params.patch == 1:
            return 0.0
        return None

    def measure(self, case: Case) -> dict[str, float | Array]:
        """Return ``value`` and ``curve`` (percentage,); raises ``Undefined`` where no size has a correlation."""
        regions, relevance = self._regions(case)
        sets = self._sets(case, len(relevance))
        sums = np.array([relevance[members].sum() for members in sets]).reshape(-1, self.params.subsets)
        scores = self._scores_without(case, regions, sets).reshape(sums.shape)
        varied = _varies(sums, np.abs(relevance).sum(), np.float64) & _varies(scores, np.abs(scores).max(), np.float32)
        if not varied.any():
            raise Undefined("the relevance, or the score, is the same whichever pixels are removed")
        curve = np.full(len(sums), np.nan)
        curve[varied] = correlations(sums[varied], -scores[varied])
        return {"value": float(np.nanmean(curve)), "curve": curve}

    def _regions(self, case: Case) -> tuple[Array, Array]:
        """Number the pixels or patches in the field (*space), -1 outside it, with their summed relevance (regions,)."""
        heatmap = finite_heatmap(case)
        field = examined_field(case.sample)
        _, numbers = np.unique(patches(heatmap.shape, self.params.patch)[field], return_inverse=True)
        regions = np.full(heatmap.shape, -1)
        regions[field] = numbers
        return regions, np.bincount(numbers, weights=heatmap[field])

    def _sets(self, case: Case, count: int) -> Array:
        """Draw the sets (sets, count) bool of each size, one size after the other; a set is neither empty nor full."""
        if count == 1:
            raise Undefined("the field has only one pixel or patch: there is nothing to choose from")
        assert case.batch is not None
        sets = np.zeros((len(self.params.percentages), self.params.subsets, count), dtype=bool)
        for percentage, members in zip(self.params.percentages, sets):
            size = min(max(1, round(percentage * count / 100)), count - 1)
            random = generator(case.batch.seed, case.sample.id, "sensitivity-n", size)
            for row in members:
                row[random.choice(count, size, replace=False)] = True
        return sets.reshape(-1, count)

    def _scores_without(self, case: Case, regions: Array, sets: Array) -> Array:
        """Compute the scores (sets,) of the image without each set of regions."""
        batch = case.batch
        assert batch is not None
        baseline = replacement(case, self.params.baseline, self.params.sigma)
        # The last column stands for the pixels outside the field, whose number is -1.
        padded = np.pad(sets, ((0, 0), (0, 1)))

        def variants(piece: slice) -> Tensor:
            removed = torch.from_numpy(padded[piece][:, regions]).to(batch.images.device)
            return torch.where(removed[:, None], baseline, batch.images)

        return np.array([self.score(case, prediction) for prediction in predictions(batch, variants, len(sets))])


def correlations(first: Array, second: Array) -> Array:
    """Compute the correlation (Pearson) of each row of two arrays (rows, values), none of them constant: (rows,).

    >>> correlations(np.array([[1.0, 2, 3], [1, 2, 3]]), np.array([[2.0, 4, 6], [3, 2, 1]])).round(12).tolist()
    [1.0, -1.0]
    """
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / norms)


def _varies(values: Array, scale: float, precision: type[np.floating]) -> Array:
    """Whether the values of each row (rows, values) differ by more than rounding errors of numbers of this scale."""
    return np.asarray(np.ptp(values, axis=1) > ROUNDING * np.finfo(precision).eps * scale)
