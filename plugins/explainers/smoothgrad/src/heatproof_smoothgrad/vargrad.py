"""VarGrad."""

from typing import Self

from pydantic import model_validator
from torch import Tensor

from .noise import Moments
from .noisy import Noisy, NoisyParams


class VarGradParams(NoisyParams):
    """The settings of all moments, without antithetic copies: they are not independent, which biases a variance."""

    @model_validator(mode="after")
    def _independent(self) -> Self:
        if self.antithetic:
            raise ValueError(
                "antithetic copies depend on one another, so their variance is biased; leave antithetic out for vargrad"
            )
        return self


class VarGrad(Noisy[VarGradParams]):
    """The variance of the maps over noisy copies of the image (Adebayo et al. 2018); never negative.

    It is the variance of the copies as a population: the mean of the squares minus the square of the mean. On a linear
    model it is 0.
    """

    def moment(self, moments: Moments) -> Tensor:
        """The variance."""
        return moments.variance
