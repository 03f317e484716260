"""The base class of explainers that slide a patch over the image and see how far the score falls."""

import math
from abc import abstractmethod
from collections.abc import Hashable
from typing import Annotated, Self, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import logits
from heatproof.records import Explanation

from .boxes import Windows, per_axis
from .windows import window_scores

ROUNDING = 100
"""Scores that differ by at most this number of machine epsilons, relative to the image's score, count as equal."""

Side = Annotated[int, Field(ge=1, le=10_000)]
Rectangle = Annotated[tuple[Side, ...], Field(min_length=2, max_length=3)]


class SlidingParams(Params):
    """The sides of the ``patch`` and its ``stride`` in pixels.

    One number is the side of a square or cube; a list has one per axis, rows first, as captum's
    ``sliding_window_shapes`` after the channels.
    """

    patch: Side | Rectangle = 32
    stride: Side | Rectangle = 16

    @model_validator(mode="after")
    def _covering(self) -> Self:
        axes = max(len(sides) for sides in (self.patch, self.stride, (0,)) if isinstance(sides, tuple))
        if len({len(sides) for sides in (self.patch, self.stride) if isinstance(sides, tuple)}) > 1:
            raise ValueError(f"patch {self.patch} and stride {self.stride} differ in their number of axes")
        if any(stride > side for side, stride in zip(per_axis(self.patch, axes), per_axis(self.stride, axes))):
            raise ValueError(f"stride {self.stride} leaves gaps between patches of {self.patch} pixels")
        return self


S = TypeVar("S", bound=SlidingParams, covariant=True)


class Sliding(Explainer[S]):
    """The fall of the score when a patch covers the image, averaged at each pixel over the patches that cover it.

    The score is the target's logit. Patches lie at every multiple of the stride. They cover the whole image; the far
    borders cut off the last ones. The note ``degenerate`` is 1 if no patch changes the score by more than rounding. A
    subclass implements ``patch_pixels`` and ``key``.
    """

    requires = frozenset()
    traits = frozenset({"signed"})
    passes = (2, 0)
    reads_logits = True

    @abstractmethod
    def patch_pixels(self, batch: Batch) -> Tensor:
        """The pixels that a patch shows, as they broadcast to the images (n, c, *space)."""
        raise NotImplementedError

    @abstractmethod
    def key(self) -> Hashable:
        """What the pixels depend on besides the batch."""
        raise NotImplementedError

    @property
    def spaces(self) -> frozenset[int]:
        """The number of axes of the patch or the stride; 2-D and 3-D if each is one number."""
        axes = {len(sides) for sides in (self.params.patch, self.params.stride) if isinstance(sides, tuple)}
        return frozenset(axes or {2, 3})

    def cost(self, model: Model, space: tuple[int, ...]) -> tuple[int, int]:
        """One forward of the image and one per patch; those of patches may be partial, and cost less than full ones."""
        return 1 + math.prod(self._windows(space).shape), 0

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space); raises ``ModelError`` if the patch is larger than the image."""
        windows = self._windows(batch.space)
        clean = batch.pick(logits(batch))[:, None]
        scores = window_scores(batch, windows, self.patch_pixels(batch), self.key())
        rounding = ROUNDING * torch.finfo(scores.dtype).eps * clean.abs()
        degenerate = ((clean - scores).abs() <= rounding).all(1)
        return Explanation(averaged(clean - scores, windows), notes={"degenerate": degenerate.double().tolist()})

    def _windows(self, space: tuple[int, ...]) -> Windows:
        return Windows.sliding(space, self.params.patch, self.params.stride)


def averaged(values: Tensor, windows: Windows) -> Tensor:
    """Values (n, window) as maps (n, 1, *space): at each pixel the mean over the windows that contain it."""
    maps = values.reshape(len(values), *windows.shape)
    for span in windows.spans:
        positions = torch.arange(span.length)
        low = torch.tensor(span.low)[:, None]
        high = torch.tensor(span.high)[:, None]
        contains = ((low <= positions) & (positions < high)).to(maps)
        maps = torch.tensordot(maps, contains / contains.sum(0), dims=([1], [0]))
    return maps[:, None]
