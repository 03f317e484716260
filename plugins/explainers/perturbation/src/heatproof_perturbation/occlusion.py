"""Occlusion: how far the score falls when a patch covers the image."""

from collections.abc import Hashable

from pydantic import Field
from torch import Tensor

from heatproof.batch import Batch
from heatproof_shared_passes.sliding import Sliding, SlidingParams

from .replacement import Value, replacement


class OcclusionParams(SlidingParams):
    """The sides of the ``patch`` and its ``stride`` in pixels, and the pixels that the patch shows.

    One number is the side of a square or cube; a list has one per axis, rows first, as captum's
    ``sliding_window_shapes`` after the channels. ``value`` is a constant in prepared units, ``mean`` (of each channel
    over the image) or ``blur`` (the image after a Gaussian filter of ``sigma`` pixels).
    """

    value: Value = 0.0
    sigma: float = Field(default=10.0, gt=0, le=1000)


class Occlusion(Sliding[OcclusionParams]):
    """The fall of the score when a patch covers the image, averaged at each pixel over the patches that cover it.

    Zeiler and Fergus 2014, in 2-D and 3-D. The score is the target's logit. Patches lie at every multiple of the
    stride. They cover the whole image; the far borders cut off the last ones. The note ``degenerate`` is 1 if no patch
    changes the score by more than rounding.
    """

    def patch_pixels(self, batch: Batch) -> Tensor:
        """The constant, the mean or the blurred image (n, c, *space)."""
        return replacement(batch, self.params.value, self.params.sigma, "what a patch shows")

    def key(self) -> Hashable:
        """The settings that the pixels depend on."""
        if self.params.value == "blur":
            return self.params.value, self.params.sigma
        return (self.params.value,)
