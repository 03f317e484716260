"""SmoothGrad-Squared."""

from torch import Tensor

from .noise import Moments
from .noisy import Noisy, NoisyParams


class SmoothGradSquared(Noisy[NoisyParams]):
    """The mean of the squared maps over noisy copies of the image (Hooker et al. 2019); never negative."""

    def moment(self, moments: Moments) -> Tensor:
        """The mean of the squares."""
        return moments.squares
