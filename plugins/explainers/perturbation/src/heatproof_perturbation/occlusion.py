"""How far the score falls where a patch covers the image."""

import math
from typing import Literal, Self

import torch
from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt, model_validator
from skimage.filters import gaussian
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import logits
from heatproof.records import Explanation

from .boxes import Windows
from .windows import window_scores

ROUNDING = 100
"""Scores that differ by less than so many units of their last place are taken for equal."""


class OcclusionParams(Params):
    """The side of the square or cubic ``patch`` and its ``stride`` in pixels, and what the patch shows.

    ``value`` is a constant in prepared units, ``mean`` each channel's mean over the image, or ``blur`` the image
    under a Gaussian of ``sigma`` pixels.
    """

    patch: PositiveInt = 32
    stride: PositiveInt = 16
    value: FiniteFloat | Literal["mean", "blur"] = 0.0
    sigma: PositiveFloat = Field(default=10.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _covering(self) -> Self:
        if self.stride > self.patch:
            raise ValueError(f"stride {self.stride} leaves gaps between patches of {self.patch} pixels")
        return self


class Occlusion(Explainer[OcclusionParams]):
    """The score less the score with a patch over the image, at each pixel averaged over the patches that cover it.

    Zeiler and Fergus 2014, in 2-D and 3-D. The score is the target's logit. Patches lie at every
    multiple of the stride; the last ones are cut off by the far border, so that all of the image is covered.
    Where no patch changes the score, by more than rounding, the note ``degenerate`` is 1.
    """

    requires = frozenset()
    traits = frozenset({"signed"})

    def cost(self, model: Model, space: tuple[int, ...]) -> tuple[int, int]:
        """The forward of the image and one per patch, which costs a part of a full one where a box of it changes."""
        return 1 + math.prod(self._windows(space).shape), 0

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space); raises ``ModelError`` where the patch is larger than the image."""
        windows, settings = self._windows(batch.space), self.params
        named = (settings.value, settings.sigma if settings.value == "blur" else None)
        own = batch.pick(logits(batch))[:, None]
        scores = window_scores(batch, windows, self._shown(batch.images), named)
        rounding = ROUNDING * torch.finfo(scores.dtype).eps * own.abs()
        silent = ((own - scores).abs() <= rounding).all(1)
        return Explanation(averaged(own - scores, windows), notes={"degenerate": silent.double().tolist()})

    def _windows(self, space: tuple[int, ...]) -> Windows:
        return Windows.sliding(space, self.params.patch, self.params.stride)

    def _shown(self, images: Tensor) -> Tensor:
        """What patches show, broadcasting to the images (n, c, *space)."""
        value = self.params.value
        if value == "mean":
            return images.mean(tuple(range(2, images.ndim)), keepdim=True)
        if value == "blur":
            return torch.stack([self._blurred(image) for image in images])
        return images.new_tensor(value)

    def _blurred(self, image: Tensor) -> Tensor:
        made = gaussian(image.cpu().numpy(), self.params.sigma, mode="nearest", channel_axis=0)  # type: ignore[no-untyped-call]
        return torch.from_numpy(made).to(image)


def averaged(values: Tensor, windows: Windows) -> Tensor:
    """Values (n, window) as maps (n, 1, *space): at each pixel the mean over the windows that hold it."""
    maps = values.reshape(len(values), *windows.shape)
    for span in windows.spans:
        places = torch.arange(span.length)
        low, high = torch.tensor(span.low)[:, None], torch.tensor(span.high)[:, None]
        holds = ((low <= places) & (places < high)).to(maps)
        maps = torch.tensordot(maps, holds / holds.sum(0), dims=([1], [0]))
    return maps[:, None]
