"""LIME: a linear model of the score, fitted to copies of the image with superpixels switched off."""

import numpy as np
from pydantic import Field
from sklearn.linear_model import Ridge

from heatproof.batch import Batch
from heatproof.records import Array
from heatproof.seeding import generator

from .superpixels import OverSuperpixels, SuperpixelParams


class LimeParams(SuperpixelParams):
    """The superpixels, and how the linear model is fitted.

    ``samples`` is the number of copies; they are weighted by an exponential kernel of ``kernel_width`` over the cosine
    distance to the whole image. ``ridge`` is the penalty. The other settings are those of ``SuperpixelParams``.
    """

    samples: int = Field(default=1000, ge=2, le=1_000_000)
    kernel_width: float = Field(default=0.25, gt=0, le=1e6)
    ridge: float = Field(default=1.0, ge=0, le=1e6)


class Lime(OverSuperpixels[LimeParams]):
    """What each superpixel adds to the score, by a linear model around the image (Ribeiro et al. 2016).

    Copies of the image have random superpixels switched off, and their scores are fitted by which superpixels are on.
    The first copy is the image itself; equal copies are scored once. Draws depend only on the seed and the sample's
    id. Notes: ``superpixels`` is their number; ``degenerate`` is 1 if all scores are equal up to rounding. An image
    that is one superpixel has no map.
    """

    @property
    def passes(self) -> tuple[int, int]:
        """One forward per copy, fewer if copies are equal."""
        return self.params.samples, 0

    def masks(self, batch: Batch, count: int) -> Array:
        """The whole image, and copies with each superpixel on or off by chance."""
        masks = generator(batch.seed, batch.ids[0], "lime").integers(0, 2, (self.params.samples, count))
        masks[0] = 1
        return masks

    def effects(self, masks: Array, scores: Array) -> Array:
        """The weights of the linear model."""
        return coefficients(masks, scores, self.params.kernel_width, self.params.ridge)


def coefficients(masks: Array, scores: Array, kernel_width: float, ridge: float) -> Array:
    """The weights (superpixel,) of a linear model of the scores (sample,) with intercept, by weighted ridge regression.

    The weight of a sample is exp(-d² / (2 width²)), where d is 1 - the cosine between its mask and the mask of ones.
    """
    distances = 1 - np.sqrt(masks.mean(1))
    weights = np.exp(-np.square(distances) / (2 * kernel_width**2))
    model = Ridge(alpha=ridge).fit(masks.astype(np.float64), scores, sample_weight=weights)
    return np.asarray(model.coef_)
