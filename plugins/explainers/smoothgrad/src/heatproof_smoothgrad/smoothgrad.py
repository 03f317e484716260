"""SmoothGrad."""

from torch import Tensor

from .noise import Moments
from .noisy import Noisy, NoisyParams


class SmoothGrad(Noisy[NoisyParams]):
    """The mean map over noisy copies of the image (Smilkov et al. 2017).

    It is the base map itself on a linear model, and on any model with one copy and no noise.
    """

    @property
    def traits(self) -> frozenset[str]:
        """Also signed if the base is."""
        return super().traits | (self._base_traits & {"signed"})

    def moment(self, moments: Moments) -> Tensor:
        """The mean."""
        return moments.mean
