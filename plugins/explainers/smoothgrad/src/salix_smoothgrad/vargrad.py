"""VarGrad."""

from torch import Tensor

from salix.passes import Moments

from .noisy import Noisy


class VarGrad(Noisy):
    """The variance of the maps over noisy copies of the picture (Adebayo et al. 2018); never negative.

    Of the copies as a population: the mean of the squares less the square of the mean. On a linear model it is 0.
    """

    def moment(self, found: Moments) -> Tensor:
        """The variance."""
        return found.variance
