"""The rates of right and of wrong decisions among the rejected ones, of every resample in one call.

They are computed here because ``sklearn.metrics.roc_curve`` takes one resample at a time.
"""

from dataclasses import dataclass

import numpy as np

from heatproof.records import Array

BLOCK = 2**18
"""Counts per block: few enough for the processor's cache."""
LEVELS = np.arange(101)
"""The true rejection rates of a curve, in percent."""


@dataclass(frozen=True)
class Rejections:
    """The numbers of right and wrong decisions (r, steps) rejected as the threshold falls.

    None is rejected at the first step, all at the last; decisions with equal statistics are rejected together.
    """

    right: Array
    wrong: Array

    @property
    def auroc(self) -> Array:
        """How often a wrong decision is more doubtful than a right one, ties counting half (r,)."""
        rises = np.diff(self.wrong, axis=1)
        accepted = 2 * self.right[:, -1:] - self.right[:, 1:] - self.right[:, :-1]
        return _share((rises * accepted).sum(axis=1), 2 * self.right[:, -1] * self.wrong[:, -1])

    @property
    def curve(self) -> Array:
        """The false rejection rate at every true rejection rate of ``LEVELS`` (r, levels), linear between the steps.

        Where several false rejection rates have the same true one, the lowest counts.
        """
        # Integers: rounding must not miss a level that is reached exactly.
        reached = self.wrong * 100
        targets = self.wrong[:, -1:] * LEVELS
        # An offset per row puts the values of each row above those of the row before: one search serves all rows.
        rows = np.arange(len(reached))[:, None]
        offsets = (reached.max(initial=0) + 1) * rows
        steps = np.searchsorted((reached + offsets).ravel(), (targets + offsets).ravel()).reshape(targets.shape)
        after = steps - rows * reached.shape[1]
        before = np.maximum(after - 1, 0)
        rise = reached[rows, after] - reached[rows, before]
        part = np.divide(targets - reached[rows, before], rise, out=np.zeros(rise.shape), where=rise > 0)
        right = self.right[rows, before] + part * (self.right[rows, after] - self.right[rows, before])
        totals = self.right[:, -1:] * (self.wrong[:, -1:] > 0)
        return _share(right, np.broadcast_to(totals, right.shape))


def rejections(statistic: Array, wrong: Array, counts: Array) -> Rejections:
    """Count the rejections as ever more cases are rejected, most doubtful first; counts (r, cases) are integers."""
    order = np.argsort(-statistic)
    ends = np.flatnonzero(np.diff(statistic[order], append=-np.inf))
    steps = np.zeros((2, len(counts), len(ends) + 1), dtype=np.int64)
    for kind in (0, 1):
        steps[kind, :, 1:] = np.cumsum(counts[:, order] * (wrong[order] == kind), axis=1, dtype=np.int64)[:, ends]
    return Rejections(*steps)


def auroc_and_curve(statistic: Array, wrong: Array, counts: Array) -> tuple[Array, Array]:
    """Compute the AUROC (r,) of a statistic for wrong decisions, and its curve (r, levels) of false rejection rates."""
    rows = max(1, BLOCK // max(1, len(statistic)))
    blocks = [rejections(statistic, wrong, counts[start : start + rows]) for start in range(0, len(counts), rows)]
    return np.concatenate([block.auroc for block in blocks]), np.concatenate([block.curve for block in blocks])


def rates(statistic: Array, wrong: Array, counts: Array, gamma: float) -> tuple[Array, Array]:
    """Compute the shares of right and of wrong decisions (r,) that have a statistic above ``gamma``."""
    kinds = np.stack([wrong == 0, wrong == 1], axis=1)
    weights = counts.astype(np.float64)
    shares = _share(weights @ (kinds & (statistic > gamma)[:, None]), weights @ kinds)
    return shares[:, 0], shares[:, 1]


def _share(part: Array, whole: Array) -> Array:
    """The quotient; NaN where the whole is zero."""
    quotient: Array = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return quotient
