"""Explainers of superpixels: the segmentation of an image, and the scores of copies with some superpixels off."""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field, field_validator
from skimage.segmentation import quickshift
from torch import Tensor

from heatproof.batch import Batch, require_finite
from heatproof.component import Location, Params
from heatproof.errors import Undefined
from heatproof.explainer import Explainer
from heatproof.records import Array, Explanation
from heatproof_superpixels.segmentation import colours, consecutive, superpixels

from .masks import folder_digest, label_image, squares

ROUNDING = 100
"""Scores that differ by at most this number of machine epsilons, relative to the largest, count as equal."""
QUICKSHIFT = {"kernel_size": 4, "max_dist": 200, "ratio": 0.2}
"""The settings of LIME's authors."""


class SuperpixelParams(Params):
    """How superpixels are segmented, and what they show when they are off.

    ``segmentation`` is ``slic``, ``quickshift``, a ``grid`` of squares of ``cell`` pixels, or the path of label images
    on the model's grid, in which pixels of one value or colour are a superpixel: one file for all samples, or a folder
    with a file per sample that is named as its id, with _ in place of /. ``segments`` and ``compactness`` are settings
    of SLIC; quickshift has the fixed ones of LIME's authors. ``off`` is each superpixel's mean colour, or zero in
    prepared units.
    """

    segmentation: Annotated[Literal["slic", "quickshift", "grid"] | Location, Field(union_mode="left_to_right")] = (
        "slic"
    )
    cell: int = Field(default=16, ge=1, le=10_000)
    segments: int = Field(default=100, ge=1, le=100_000)
    compactness: float = Field(default=10.0, gt=0, le=1e6)
    off: Literal["mean", "zero"] = "mean"

    @field_validator("segmentation")
    @classmethod
    def _existing(cls, segmentation: str | Path) -> str | Path:
        if isinstance(segmentation, Path) and not segmentation.exists():
            raise ValueError(
                f"{segmentation} is no file or folder; segmentation is slic, quickshift, grid, or the path of labels"
            )
        return segmentation


P = TypeVar("P", bound=SuperpixelParams, covariant=True)


class OverSuperpixels(Explainer[P]):
    """One value per superpixel, from the scores of copies of the image with some superpixels switched off."""

    requires = frozenset()
    spaces = frozenset({2})

    @property
    def traits(self) -> frozenset[str]:
        """Seeded; signed only for ``off: zero``, since a superpixel may add nothing to its own mean."""
        if self.params.off == "zero":
            return frozenset({"seeded", "signed"})
        return frozenset({"seeded"})

    @abstractmethod
    def masks(self, batch: Batch, count: int) -> Array:
        """The superpixels that are on (copy, superpixel) in each copy of the image of a batch of one."""
        raise NotImplementedError

    @abstractmethod
    def effects(self, masks: Array, scores: Array) -> Array:
        """The value of each superpixel (superpixel,), from the scores (copy,) of the copies."""
        raise NotImplementedError

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space), constant on each superpixel; raises ``Undefined`` for an image of one superpixel."""
        maps, counts, degenerate = zip(*(self._explained(single) for single in batch.singles()))
        notes = {"superpixels": list(counts), "degenerate": list(degenerate)}
        return Explanation(torch.stack(maps)[:, None], notes=notes)

    def _explained(self, batch: Batch) -> tuple[Tensor, int, float]:
        """The map (*space) of a batch of one, its number of superpixels, and 1 if it is degenerate."""
        labels = labels_of(batch, self.params)
        count = int(labels.max()) + 1
        if count == 1:
            raise Undefined(f"{self.params.segmentation} finds only one superpixel in the image")
        masks = self.masks(batch, count)
        scores = mask_scores(batch, torch.from_numpy(labels).to(batch.images.device), masks, self.params.off)
        spread = float(np.ptp(scores))
        degenerate = spread <= ROUNDING * torch.finfo(batch.images.dtype).eps * float(np.abs(scores).max())
        values = self.effects(masks, scores)[labels]
        return torch.from_numpy(values).to(batch.images), count, float(degenerate)

    def content(self) -> str:
        """The digest of the files of a folder of label images."""
        return folder_digest(self.params.segmentation)


def labels_of(batch: Batch, params: SuperpixelParams) -> Array:
    """The superpixel (*space) that each pixel of the image of a batch of one belongs to: 0, 1, …"""
    if params.segmentation == "grid":
        return squares(batch.space, params.cell)
    if isinstance(params.segmentation, Path):
        return label_image(params.segmentation, batch.ids[0], batch.space)
    return segmented(batch.images[0].double().cpu().numpy(), params)


def segmented(image: Array, params: SuperpixelParams) -> Array:
    """The superpixel (*space) that each pixel of an image (c, *space) belongs to, by SLIC or quickshift: 0, 1, …

    The image is scaled to 0…1. Three channels are then converted to Lab; other images are scaled to 0…100, the range of
    Lab.
    """
    if params.segmentation == "quickshift":
        return consecutive(quickshift(colours(image), convert2lab=False, **QUICKSHIFT))  # type: ignore[no-untyped-call]
    return superpixels(image, params.segments, params.compactness)


def mask_scores(batch: Batch, labels: Tensor, masks: Array, off: Literal["mean", "zero"]) -> Array:
    """The scores (copy,) of the image of a batch of one with superpixels off where masks (copy, superpixel) are 0.

    Equal copies are scored once.
    """
    image = batch.images[0]
    distinct, index = np.unique(masks, axis=0, return_inverse=True)
    background = torch.zeros_like(image)
    if off == "mean":
        background = superpixel_means(image, labels)
        require_finite(background[None], batch.ids, "the mean of a superpixel", "scale the image to a smaller range")
    on = torch.from_numpy(distinct.astype(bool)).to(image.device)
    scores = []
    for start in range(0, len(on), batch.rows):
        copies = torch.where(on[start : start + batch.rows, labels][:, None], image, background)
        scores.append(batch.score(copies, [0] * len(copies)))
    return np.asarray(torch.cat(scores).double().cpu().numpy()[index.reshape(-1)])


def superpixel_means(image: Tensor, labels: Tensor) -> Tensor:
    """The image (c, *space) with each pixel replaced by the mean colour of its superpixel."""
    index = labels.flatten()
    sums = image.new_zeros(len(image), int(index.max()) + 1).index_add_(1, index, image.flatten(1))
    return (sums / index.bincount())[:, labels]
