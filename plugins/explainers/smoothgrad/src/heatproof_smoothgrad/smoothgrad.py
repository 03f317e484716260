"""SmoothGrad."""

from torch import Tensor

from .noise import Moments
from .noisy import PLAIN, Noisy, NoisyParams


class SmoothGrad(Noisy[NoisyParams]):
    """The mean map over noisy copies of the image (Smilkov et al. 2017).

    On a linear model it is the base map itself; with one copy and no noise it is always.
    """

    @property
    def traits(self) -> frozenset[str]:
        """Also signed where the base is."""
        return super().traits | ({"signed"} & (self.params.base.traits if self.params.base else PLAIN))

    def moment(self, found: Moments) -> Tensor:
        """The mean."""
        return found.mean
