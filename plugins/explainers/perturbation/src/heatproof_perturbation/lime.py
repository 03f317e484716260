"""LIME: a linear model of the score, fitted to copies of the image with superpixels switched off."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from skimage.color import rgb2lab
from skimage.segmentation import quickshift, slic
from sklearn.linear_model import Ridge
from torch import Tensor

from heatproof.batch import Batch, require_finite
from heatproof.component import Location, Params
from heatproof.errors import Undefined
from heatproof.explainer import Explainer
from heatproof.records import Array, Explanation
from heatproof.seeding import generator

from .masks import folder_digest, label_image, squares

ROUNDING = 100
"""Scores that differ by at most this number of machine epsilons, relative to the largest, count as equal."""
QUICKSHIFT = {"kernel_size": 4, "max_dist": 200, "ratio": 0.2}
"""The settings of LIME's authors."""


class LimeParams(Params):
    """How superpixels are segmented, what they show when they are off, and how the linear model is fitted.

    ``segmentation`` is ``slic``, ``quickshift``, a ``grid`` of squares of ``cell`` pixels, or the path of label images
    on the model's grid, in which pixels of one value or colour are a superpixel: one file for all samples, or a folder
    with a file per sample that is named as its id, with _ in place of /. ``segments`` and ``compactness`` are settings
    of SLIC; quickshift has the fixed ones of LIME's authors. ``off`` is each superpixel's mean colour, or zero in
    prepared units. ``samples`` is the number of copies; they are weighted by an exponential kernel of ``kernel_width``
    over the cosine distance to the whole image. ``ridge`` is the penalty.
    """

    segmentation: Annotated[Literal["slic", "quickshift", "grid"] | Location, Field(union_mode="left_to_right")] = (
        "slic"
    )
    cell: int = Field(default=16, ge=1, le=10_000)
    segments: int = Field(default=100, ge=1, le=100_000)
    compactness: float = Field(default=10.0, gt=0, le=1e6)
    off: Literal["mean", "zero"] = "mean"
    samples: int = Field(default=1000, ge=2, le=1_000_000)
    kernel_width: float = Field(default=0.25, gt=0, le=1e6)
    ridge: float = Field(default=1.0, ge=0, le=1e6)

    @field_validator("segmentation")
    @classmethod
    def _existing(cls, segmentation: str | Path) -> str | Path:
        if isinstance(segmentation, Path) and not segmentation.exists():
            raise ValueError(
                f"{segmentation} is no file or folder; segmentation is slic, quickshift, grid, or the path of labels"
            )
        return segmentation


class Lime(Explainer[LimeParams]):
    """What each superpixel adds to the score, by a linear model around the image (Ribeiro et al. 2016).

    Copies of the image have random superpixels switched off, and their scores are fitted by which superpixels are on.
    The first copy is the image itself; equal copies are scored once. Draws depend only on the seed and the sample's
    id. Notes: ``superpixels`` is their number; ``degenerate`` is 1 if all scores are equal up to rounding. An image
    that is one superpixel has no map.
    """

    requires = frozenset()
    spaces = frozenset({2})

    @property
    def traits(self) -> frozenset[str]:
        """Seeded; signed only for ``off: zero``, since a superpixel may add nothing to its own mean."""
        if self.params.off == "zero":
            return frozenset({"seeded", "signed"})
        return frozenset({"seeded"})

    @property
    def passes(self) -> tuple[int, int]:
        """One forward per copy, fewer if copies are equal."""
        return self.params.samples, 0

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space), constant on each superpixel; raises ``Undefined`` for an image of one superpixel."""
        maps, counts, degenerate = zip(*(self._explained(single) for single in batch.singles()))
        notes = {"superpixels": list(counts), "degenerate": list(degenerate)}
        return Explanation(torch.stack(maps)[:, None], notes=notes)

    def _explained(self, batch: Batch) -> tuple[Tensor, int, float]:
        """The map (*space) of a batch of one, its number of superpixels, and 1 if it is degenerate."""
        labels = self._labels(batch)
        count = int(labels.max()) + 1
        if count == 1:
            raise Undefined(f"{self.params.segmentation} finds only one superpixel in the image")
        masks = generator(batch.seed, batch.ids[0], "lime").integers(0, 2, (self.params.samples, count))
        masks[0] = 1
        scores = self._scores(batch, torch.from_numpy(labels).to(batch.images.device), masks)
        spread = float(np.ptp(scores))
        degenerate = spread <= ROUNDING * torch.finfo(batch.images.dtype).eps * float(np.abs(scores).max())
        values = coefficients(masks, scores, self.params.kernel_width, self.params.ridge)[labels]
        return torch.from_numpy(values).to(batch.images), count, float(degenerate)

    def content(self) -> str:
        """The digest of the files of a folder of label images."""
        return folder_digest(self.params.segmentation)

    def _labels(self, batch: Batch) -> Array:
        """The superpixel (*space) that each pixel of the image of a batch of one belongs to: 0, 1, …"""
        if self.params.segmentation == "grid":
            return squares(batch.space, self.params.cell)
        if isinstance(self.params.segmentation, Path):
            return label_image(self.params.segmentation, batch.ids[0], batch.space)
        return self._superpixels(batch.images[0].double().cpu().numpy())

    def _superpixels(self, image: Array) -> Array:
        """The superpixel (*space) that each pixel of an image (c, *space) belongs to: 0, 1, …

        The image is scaled to 0…1. Three channels are then converted to Lab; other images are scaled to 0…100, the
        range of Lab.
        """
        scaled = np.moveaxis((image - image.min()) / (np.ptp(image) or 1.0), 0, -1)
        colours = 100 * scaled
        if len(image) == 3:
            colours = rgb2lab(scaled)
        if self.params.segmentation == "quickshift":
            labels = quickshift(colours, convert2lab=False, **QUICKSHIFT)  # type: ignore[no-untyped-call]
        else:
            compactness = self.params.compactness / (np.ptp(colours) or 1.0)  # SLIC divides the colours by their range
            labels = slic(colours, self.params.segments, compactness, convert2lab=False, start_label=0)
        return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)

    def _scores(self, batch: Batch, labels: Tensor, masks: Array) -> Array:
        """The scores (sample,) of the image with superpixels off where masks (sample, superpixel) are 0."""
        image = batch.images[0]
        distinct, index = np.unique(masks, axis=0, return_inverse=True)
        off = torch.zeros_like(image)
        if self.params.off == "mean":
            off = superpixel_means(image, labels)
            require_finite(off[None], batch.ids, "the mean of a superpixel", "scale the image to a smaller range")
        on = torch.from_numpy(distinct.astype(bool)).to(image.device)
        scores = []
        for start in range(0, len(on), batch.rows):
            copies = torch.where(on[start : start + batch.rows, labels][:, None], image, off)
            scores.append(batch.score(copies, [0] * len(copies)))
        return np.asarray(torch.cat(scores).double().cpu().numpy()[index.reshape(-1)])


def superpixel_means(image: Tensor, labels: Tensor) -> Tensor:
    """The image (c, *space) with each pixel replaced by the mean colour of its superpixel."""
    index = labels.flatten()
    sums = image.new_zeros(len(image), int(index.max()) + 1).index_add_(1, index, image.flatten(1))
    return (sums / index.bincount())[:, labels]


def coefficients(masks: Array, scores: Array, kernel_width: float, ridge: float) -> Array:
    """The weights (superpixel,) of a linear model of the scores (sample,) with intercept, by weighted ridge regression.

    The weight of a sample is exp(-d² / (2 width²)), where d is 1 - the cosine between its mask and the mask of ones.
    """
    distances = 1 - np.sqrt(masks.mean(1))
    weights = np.exp(-np.square(distances) / (2 * kernel_width**2))
    model = Ridge(alpha=ridge).fit(masks.astype(np.float64), scores, sample_weight=weights)
    return np.asarray(model.coef_)
