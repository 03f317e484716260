"""Iterative refinement of heatmaps."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.errors import ModelError, Undefined
from heatproof.model import Model
from heatproof.passes import logits
from heatproof.records import Array, Explanation, Verdict
from heatproof_shared_passes.based import Based, BasedParams
from heatproof_shared_passes.rectification import rectification
from heatproof_shared_passes.rectified import rectified

from .inpainting import inpainted

Sign = Literal["negative", "positive", "against"]
GRADED = ("ordinal", "regression")
"""The heads of models whose classes are grades."""


class IterativeParams(BasedParams):
    """The map to refine and the part of it that counts, the pixels to fill in, and the end of the loop.

    ``base`` is guided backpropagation by default. ``sign`` selects the ``negative`` part of its map, where darker
    pixels would raise the score, the ``positive`` part, or the positive part of guided backpropagation of minus the
    score (``against``). The most salient pixels are filled in: the ``share`` of the field's pixels with the highest
    values, or those of at least ``tau`` times the highest value, and all pixels within ``dilation`` pixels of them.
    ``radius`` is the solver's. Map i has the weight exp(-``decay`` i). The loop runs while the grade is above
    ``normal``, at most ``max_iter`` times.
    """

    sign: Sign = "negative"
    share: float = Field(default=0.01, gt=0, le=1)
    tau: float | None = Field(default=None, gt=0, le=1)
    dilation: int = Field(default=1, ge=0, le=1000)
    radius: float = Field(default=3.0, gt=0, le=1000)
    max_iter: int = Field(default=20, ge=1, le=10_000)
    decay: float = Field(default=1.0, ge=0, le=1e6)
    normal: int = Field(default=1, ge=0, le=1000)

    @model_validator(mode="after")
    def _against_guided_backpropagation(self) -> Self:
        if self.sign == "against" and self.base:
            raise ValueError(
                f"sign: against belongs to guided backpropagation, not to {self.base.short}; choose sign: negative or "
                "positive, or leave out the base"
            )
        return self


class Grade(NamedTuple):
    """A score on the scale of the grades, and the grade that the model predicts from it."""

    score: float
    category: int


class Against(Batch):
    """A batch whose score is minus the target's; batches derived from it have the target's score again."""

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """The same images under minus the score."""
        return cls(
            batch.model, batch.ids, batch.images, batch.targets, inputs=batch.inputs, region=batch.region,
            output=batch.output,
        )  # fmt: skip

    def pick(self, logits: Tensor) -> Tensor:
        """Minus the target's score of each row (n,)."""
        return -super().pick(logits)


@dataclass
class Refinement:
    """The images (c, h, w) of one sample with their grades, and the map and mask (h, w) of every step between them."""

    images: list[Tensor]
    grades: list[Grade]
    maps: list[Tensor] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)
    stopped: str = "max_iter"


class Iterative(Based[IterativeParams]):
    """The weighted sum of maps between which the most salient pixels are filled in (González-Gonzalo et al. 2018).

    While the grade is above ``normal``, the most salient pixels are inpainted and the image is explained again. This
    reveals lesions that others outshone. Later maps have smaller weights. An image that is graded at most ``normal`` at
    the start is excluded. Each sample is refined separately: the last bit of a value can change a mask, and must not
    depend on other samples in the same pass. ``max_iter: 1`` gives the map without refinement.
    """

    revision = 2
    spaces = frozenset({2})
    reads_logits = True

    @property
    def traits(self) -> frozenset[str]:
        """Seeded if the base is."""
        if self.params.base is None:
            return frozenset()
        return self.params.base.traits & {"seeded"}

    def repeated(self, passes: tuple[int, int]) -> tuple[int, int]:
        """One forward, and at most ``max_iter`` times the passes of the base and a forward for the grade."""
        most = self.params.max_iter
        return 1 + most * (passes[0] + 1), most * passes[1]

    def verdict(self, model: Model) -> Verdict:
        """Undefined without grades; otherwise the verdict of the base, or that of guided backpropagation."""
        if model.head not in GRADED:
            reason = f"{self.short} needs an ordinal or regression head; {model.short} has a {model.head} head"
            return Verdict("undefined", reason)
        highest = len(model.classes) - 1
        if self.params.normal >= highest:
            reason = f"no grade of {model.short} is above normal: {self.params.normal}; its highest is {highest}"
            return Verdict("undefined", reason)
        verdict = super().verdict(model)
        if verdict.level == "undefined" or self.params.base is not None:
            return verdict
        return rectification(model)

    def stored(self, image: Array) -> int:
        """The images, and a map and a mask of one byte per pixel for each step."""
        return int(image.nbytes + self.params.max_iter * (image.nbytes + image[0].nbytes + image[0].size))

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, h, w), not negative.

        Stores the images, masks, maps and scores of every iteration, and the last image and its score. Raises
        ``Undefined`` for a sample whose grade is at most ``normal``, or whose mask covers the whole field.
        """
        grades = graded(batch)
        for grade in grades:
            self._require_entry(grade, batch.model)
        refinements = [self._refined(single, grade) for single, grade in zip(batch.singles(), grades)]
        values = torch.stack([self._summed(refinement.maps) for refinement in refinements])[:, None]
        return Explanation(values, notes=_notes(refinements, values), kept=_sequences(refinements))

    def inpaint(self, image: Tensor, mask: Tensor) -> Tensor:
        """The image (c, h, w) with the pixels in ``mask`` (h, w) filled in; a subclass may use another method."""
        return inpainted(image, mask, self.params.radius)

    def _require_entry(self, grade: Grade, model: Model) -> None:
        if grade.category <= self.params.normal:
            raise Undefined(
                f"graded {model.classes[grade.category]} (score {grade.score:.3g}): only grades above "
                f"{model.classes[self.params.normal]} are refined"
            )

    def _refined(self, single: Batch, grade: Grade) -> Refinement:
        refinement = Refinement([single.images[0]], [grade])
        current = single.at(single.images, layers=self.layers(single.model))
        while grade.category > self.params.normal and len(refinement.maps) < self.params.max_iter:
            heatmap = self._saliency(current)
            mask = self._mask(heatmap, single.field[0])
            refinement.maps.append(heatmap)
            refinement.masks.append(mask)
            if not bool(mask.any()):
                refinement.stopped = "empty mask"
                return refinement
            current = current.at(self.inpaint(current.images[0], mask)[None])
            (grade,) = graded(current)
            refinement.images.append(current.images[0])
            refinement.grades.append(grade)
        if grade.category <= self.params.normal:
            refinement.stopped = "category"
        return refinement

    def _saliency(self, batch: Batch) -> Tensor:
        """The largest channel (h, w) of the part of the map that counts; never negative."""
        if self.params.sign == "against":
            batch = Against.of(batch)
        if self.params.base is None:
            values = rectified(batch, "guided")
        else:
            values = self.params.base(batch).values
        if self.params.sign == "negative":
            values = -values
        return values.detach()[0].amax(0).clamp_min(0)

    def _mask(self, heatmap: Tensor, field: Tensor) -> Tensor:
        """The pixels of the field to fill in (h, w) bool: the most salient ones, all ties, and their surroundings."""
        salient = heatmap[field & (heatmap > 0)]
        if not len(salient):
            return torch.zeros_like(field)
        core = field & (heatmap >= self._threshold(salient, int(field.sum())))
        width = 2 * self.params.dilation + 1
        dilated = functional.max_pool2d(core[None].to(heatmap), width, stride=1, padding=self.params.dilation)[0] > 0
        if not bool((field & ~dilated).any()):
            raise Undefined(
                "the mask covers the whole field, so no pixel is left to fill it in from; lower share or dilation, or "
                "raise tau"
            )
        return field & dilated

    def _threshold(self, salient: Tensor, size: int) -> Tensor:
        """The lowest value to fill in, for a field of ``size`` pixels with the positive values ``salient``."""
        if self.params.tau is not None:
            return self.params.tau * salient.max()
        # Rounded first: the product of floats for 0.575 of 100 is below 57.5.
        count = max(1, round(round(self.params.share * size, 6)))
        return salient.topk(min(count, len(salient))).values[-1]

    def _summed(self, maps: list[Tensor]) -> Tensor:
        """The sum of the maps, of which map i has the weight exp(-decay i)."""
        weighted = [math.exp(-self.params.decay * step) * heatmap for step, heatmap in enumerate(maps)]
        return torch.stack(weighted).sum(0)


def graded(batch: Batch) -> list[Grade]:
    """The score of each sample on the scale of the grades, and its grade.

    The score of an ordinal head is (classes - 1) times its sigmoid. Raises ``ModelError`` if a score is not finite.
    """
    model = batch.model
    rows = logits(batch).cpu().double()
    if not bool(rows.isfinite().all()):
        raise ModelError(f"the score of {model.short} is not finite; check the image and the weights.")
    scale = 1
    if model.head == "ordinal":
        scale = len(model.classes) - 1
    predictions = [model.read(row.numpy()) for row in rows]
    return [Grade(scale * float(prediction.probabilities[0]), prediction.decision) for prediction in predictions]


def _notes(refinements: list[Refinement], values: Tensor) -> dict[str, list[Any]]:
    """The course of each refinement, as columns of the score rows."""
    return {
        "iterations": [len(refinement.maps) for refinement in refinements],
        "stopped": [refinement.stopped for refinement in refinements],
        "score_before": [refinement.grades[0].score for refinement in refinements],
        "score_after": [refinement.grades[-1].score for refinement in refinements],
        "category_before": [refinement.grades[0].category for refinement in refinements],
        "category_after": [refinement.grades[-1].category for refinement in refinements],
        "degenerate": (values.flatten(1).amax(1) == 0).double().tolist(),
    }


def _sequences(refinements: list[Refinement]) -> dict[str, list[Tensor]]:
    """The images, masks, maps and scores (step, …) of each refinement."""
    scores = [[grade.score for grade in refinement.grades] for refinement in refinements]
    return {
        "images": [torch.stack(refinement.images) for refinement in refinements],
        "masks": [torch.stack(refinement.masks) for refinement in refinements],
        "maps": [torch.stack(refinement.maps) for refinement in refinements],
        "scores": [torch.tensor(row, dtype=torch.float64) for row in scores],
    }
