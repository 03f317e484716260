"""KernelSHAP: the Shapley values of superpixels, from copies of the image with superpixels switched off."""

import math

import numpy as np
from pydantic import Field

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.records import Array
from heatproof.seeding import generator

from .superpixels import OverSuperpixels, SuperpixelParams


class KernelShapParams(SuperpixelParams):
    """The superpixels, and the largest number of copies of the image (``samples``).

    If it is enough for all copies, with every set of superpixels on, the values are exact. The other settings are those
    of ``SuperpixelParams``.
    """

    samples: int = Field(default=1000, ge=4, le=1_000_000)


class KernelShap(OverSuperpixels[KernelShapParams]):
    """What each superpixel adds to the score on average over all orders of switching them on (Lundberg and Lee 2017).

    The values are the weights of a linear model of the scores, fitted with the Shapley kernel, whose sum is the score
    of the image minus the score with all superpixels off. Every pixel shows the value of its superpixel. If there are
    more sets of superpixels than ``samples``, sets are drawn: their sizes by the kernel, and with each its complement,
    which lowers the variance (Covert and Lee 2021). Equal copies are scored once. Draws depend only on the seed and the
    sample's id. Notes: ``superpixels`` is their number, ``degenerate`` is 1 if all scores are equal up to rounding. An
    image that is one superpixel has no map.
    """

    @property
    def passes(self) -> tuple[int, int]:
        """One forward per copy, fewer if copies are equal or all sets are fewer."""
        return self.params.samples, 0

    def masks(self, batch: Batch, count: int) -> Array:
        """All sets of superpixels, or random ones; the first two copies have none and all of them on."""
        if enumerates(count, self.params.samples):
            numbers = np.arange(2**count)
            sets = (numbers[:, None] >> np.arange(count)) & 1
            return np.concatenate([sets[[0, -1]], sets[1:-1]])
        return sampled(generator(batch.seed, batch.ids[0], "kernel shap"), count, self.params.samples)

    def effects(self, masks: Array, scores: Array) -> Array:
        """The Shapley values; raises ``ModelError`` if there are too few copies to tell the superpixels apart."""
        count = masks.shape[1]
        weights = np.ones(len(masks) - 2)
        if enumerates(count, self.params.samples):
            weights = shapley_kernel(count)[masks[2:].sum(1)]
        values = constrained(masks, scores, weights)
        if values is None:
            raise ModelError(
                f"{self.params.samples} samples are too few for {count} superpixels; set samples to {2 * count} at the "
                f"least, better {20 * count}, or take fewer superpixels."
            )
        return values


def enumerates(count: int, samples: int) -> bool:
    """Whether a number of samples is enough for all sets of superpixels."""
    return count < samples.bit_length()


def shapley_kernel(count: int) -> Array:
    """The weight of a set by its size (0 … count), 0 for the sizes 0 and ``count``, whose scores are met exactly."""
    weights = [(count - 1) / (math.comb(count, size) * size * (count - size)) for size in range(1, count)]
    return np.array([0.0, *weights, 0.0])


def sampled(rng: np.random.Generator, count: int, samples: int) -> Array:
    """Sets (copy, superpixel) of no, all and random superpixels; each random one is followed by its complement.

    The size of a set has the probability of all sets of this size under the Shapley kernel, as captum draws it.
    """
    sizes = np.arange(1, count)
    shares = 1 / (sizes * (count - sizes))
    counts = rng.choice(sizes, size=(samples - 2) // 2, p=shares / shares.sum())
    ranks = rng.random((len(counts), count)).argsort(1).argsort(1)
    sets = (ranks < counts[:, None]).astype(np.int64)
    pairs = np.stack([sets, 1 - sets], 1).reshape(-1, count)
    return np.concatenate([np.zeros((1, count), np.int64), np.ones((1, count), np.int64), pairs])


def constrained(masks: Array, scores: Array, weights: Array) -> Array | None:
    """The weights (superpixel,) of a linear model that meets the scores of the first two masks, none and all on.

    The others are fitted by weighted least squares, ``weights`` (copy - 2,); None if they leave a value open.
    """
    gain = scores[1] - scores[0]
    last = masks[2:, -1]
    design = masks[2:, :-1] - last[:, None]
    rest = scores[2:] - scores[0] - last * gain
    roots = np.sqrt(weights)
    values, _, rank, _ = np.linalg.lstsq(design * roots[:, None], rest * roots, rcond=None)
    if rank < design.shape[1]:
        return None
    return np.append(values, gain - values.sum())
