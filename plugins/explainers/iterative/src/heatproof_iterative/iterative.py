"""Iterative saliency map refinement."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.errors import ModelError, Undefined
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import logits
from heatproof.records import Explanation, Verdict
from heatproof_shared_passes.rectification import rectification
from heatproof_shared_passes.rectified import rectified

from .inpainting import inpainted

Sign = Literal["negative", "positive", "against"]
GRADED = ("ordinal", "regression")


class IterativeParams(Params):
    """The map under refinement and which part of it counts, the pixels that are filled in, and when it ends.

    ``base`` is guided backpropagation where none is given. ``sign``: the ``negative`` part of its map, where darker
    pixels would raise the score, the ``positive`` part, or the positive part of guided backpropagation of minus the
    score (``against``). Filled in are the ``share`` of the field's pixels with the highest values, or those of at least
    ``tau`` times the highest, and all within ``dilation`` pixels of them; ``radius`` is the solver's. Map i counts
    exp(-``decay`` i). Grades up to ``normal`` do not enter the loop, and end it.
    """

    base: Explainer | None = None
    sign: Sign = "negative"
    share: float = Field(default=0.01, gt=0, le=1)
    tau: float | None = Field(default=None, gt=0, le=1)
    dilation: int = Field(default=1, ge=0)
    radius: PositiveFloat = 3.0
    max_iter: PositiveInt = 20
    decay: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    normal: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _against_guided_backpropagation(self) -> Self:
        if self.sign == "against" and self.base:
            raise ValueError(
                f"sign: against belongs to guided backpropagation, not to {self.base.short}; choose sign: negative or "
                "positive, or leave out the base"
            )
        return self


class Grade(NamedTuple):
    """A score on the scale of the grades, and the grade that the model reads from it."""

    score: float
    category: int


class Against(Batch):
    """Samples whose score is minus the target's; it says so for passes on itself, not for batches made of it."""

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """The same images under minus the score."""
        return cls(batch.model, batch.ids, batch.images, batch.targets, inputs=batch.inputs, output=batch.output)

    def pick(self, logits: Tensor) -> Tensor:
        """Minus the target's score of each row (n,)."""
        return -super().pick(logits)


@dataclass
class Refinement:
    """The images (c, h, w) of one sample with their grades, and what led from each to the next: map and mask (h, w)."""

    images: list[Tensor]
    grades: list[Grade]
    maps: list[Tensor] = field(default_factory=list)
    masks: list[Tensor] = field(default_factory=list)
    stopped: str = "max_iter"


class Iterative(Explainer[IterativeParams]):
    """Maps of one image whose most salient pixels are filled in again and again (González-Gonzalo et al. 2018).

    While the grade is above ``normal``, the pixels that a map marks are inpainted and the image is explained anew, so
    that lesions show which others outshone; the result is the sum of the maps, less of each later one (specification
    7.15). An image that is graded ``normal`` at once is excluded. Every sample is refined by itself: a mask hangs on
    the last bit of a value, and must not depend on who shares a pass. ``max_iter: 1`` is the map without refinement.
    """

    spaces = frozenset({2})

    @property
    def requires(self) -> frozenset[str]:
        """Those of the base."""
        return self.params.base.requires if self.params.base else frozenset({"gradients"})

    @property
    def traits(self) -> frozenset[str]:
        """Seeded where the base is."""
        return frozenset({"seeded"} & (self.params.base.traits if self.params.base else frozenset()))

    @property
    def passes(self) -> tuple[int, int]:
        """At most those of the base and one more forward for the grade, ``max_iter`` times."""
        forwards, backwards = self.params.base.passes if self.params.base else (1, 1)
        return self.params.max_iter * (forwards + 1), self.params.max_iter * backwards

    def verdict(self, model: Model) -> Verdict:
        """Undefined without grades; else the base's, or that of guided backpropagation."""
        if model.head not in GRADED:
            reason = f"{self.short} needs an ordinal or regression head; {model.short} has a {model.head} head"
            return Verdict("undefined", reason)
        if self.params.normal >= len(model.classes) - 1:
            reason = f"no grade of {model.short} is above normal: {self.params.normal}; its highest is"
            return Verdict("undefined", f"{reason} {len(model.classes) - 1}")
        if self.params.base:
            return self.params.base.verdict(model)
        verdict = super().verdict(model)
        return verdict if verdict.level == "undefined" else rectification(model)

    def layers(self, model: Model) -> tuple[str, ...]:
        """The base's."""
        return self.params.base.layers(model) if self.params.base else ()

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, h, w), not negative; raises ``Undefined`` for a sample that does not enter or has no pixel left.

        Kept are the images, masks and maps of every iteration, and the scores, one more than iterations.
        """
        grades = graded(batch)
        for grade in grades:
            self._require_entry(grade, batch.model)
        made = [self._refined(one, grade) for one, grade in zip(batch.singles(), grades)]
        values = torch.stack([self._summed(one.maps) for one in made])[:, None]
        return Explanation(values, notes=_notes(made, values), kept=_kept(made))

    def inpaint(self, image: Tensor, mask: Tensor) -> Tensor:
        """The image (c, h, w) with the pixels in ``mask`` (h, w) filled in; a subclass may fill in otherwise."""
        return inpainted(image, mask, self.params.radius)

    def _require_entry(self, grade: Grade, model: Model) -> None:
        if grade.category <= self.params.normal:
            raise Undefined(
                f"graded {model.classes[grade.category]} (score {grade.score:.3g}): only grades above "
                f"{model.classes[self.params.normal]} are refined"
            )

    def _refined(self, single: Batch, grade: Grade) -> Refinement:
        made = Refinement([single.images[0]], [grade])
        at = single.at(single.images, layers=self.layers(single.model))
        while made.grades[-1].category > self.params.normal and len(made.maps) < self.params.max_iter:
            made.maps.append(self._saliency(at))
            made.masks.append(self._mask(made.maps[-1], single.field[0]))
            if not bool(made.masks[-1].any()):
                made.stopped = "empty mask"
                return made
            at = at.at(self.inpaint(at.images[0], made.masks[-1])[None])
            made.images.append(at.images[0])
            made.grades.append(*graded(at))
        if made.grades[-1].category <= self.params.normal:
            made.stopped = "category"
        return made

    def _saliency(self, batch: Batch) -> Tensor:
        """The largest channel of what counts in the map (h, w); never negative."""
        base, sign = self.params.base, self.params.sign
        asked = Against.of(batch) if sign == "against" else batch
        values: Tensor = base(asked).values if base else rectified(asked, "guided")
        part = -values if sign == "negative" else values
        return part.detach()[0].amax(0).clamp_min(0)

    def _mask(self, heat: Tensor, field: Tensor) -> Tensor:
        """The pixels of the field that are filled in (h, w) bool: the most salient ones, all ties, and those around."""
        salient = heat[field & (heat > 0)]
        if not len(salient):
            return torch.zeros_like(field)
        marked = field & (heat >= self._threshold(salient, int(field.sum())))
        reach = 2 * self.params.dilation + 1
        around = functional.max_pool2d(marked[None].to(heat), reach, stride=1, padding=self.params.dilation)[0] > 0
        if not bool((field & ~around).any()):
            raise Undefined(
                "the mask covers the whole field, so that nothing is left to fill it in from; lower share or dilation, "
                "or raise tau"
            )
        return field & around

    def _threshold(self, salient: Tensor, size: int) -> Tensor:
        """The lowest value that is marked, of a field of ``size`` pixels whose positive values are ``salient``."""
        if self.params.tau is not None:
            return self.params.tau * salient.max()
        count = max(1, round(self.params.share * size))
        return salient.topk(min(count, len(salient))).values[-1]

    def _summed(self, maps: list[Tensor]) -> Tensor:
        """The sum of the maps, each weighted exp(-decay i)."""
        return torch.stack([math.exp(-self.params.decay * step) * heat for step, heat in enumerate(maps)]).sum(0)


def graded(batch: Batch) -> list[Grade]:
    """The score of each sample on the scale of the grades, and its grade; raises ``ModelError`` where it is not finite.

    An ordinal head's sigmoid s counts as (classes - 1) s.
    """
    model, rows = batch.model, logits(batch).cpu().double()
    if not bool(rows.isfinite().all()):
        raise ModelError(f"the score of {model.short} is not finite; check the image and the weights.")
    scale = len(model.classes) - 1 if model.head == "ordinal" else 1
    predictions = [model.read(row.numpy()) for row in rows]
    return [Grade(scale * float(made.probabilities[0]), made.decision) for made in predictions]


def _notes(made: list[Refinement], values: Tensor) -> dict[str, list[Any]]:
    """How each refinement went, as columns of the score rows."""
    return {
        "iterations": [len(one.maps) for one in made],
        "stopped": [one.stopped for one in made],
        "score_before": [one.grades[0].score for one in made],
        "score_after": [one.grades[-1].score for one in made],
        "category_before": [one.grades[0].category for one in made],
        "category_after": [one.grades[-1].category for one in made],
        "degenerate": (values.flatten(1).amax(1) == 0).double().tolist(),
    }


def _kept(made: list[Refinement]) -> dict[str, list[Tensor]]:
    """The sequences (step, …) of each refinement."""
    return {
        "images": [torch.stack(one.images) for one in made],
        "masks": [torch.stack(one.masks) for one in made],
        "maps": [torch.stack(one.maps) for one in made],
        "scores": [torch.tensor([grade.score for grade in one.grades], dtype=torch.float64) for one in made],
    }
