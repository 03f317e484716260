"""The common base class of SmoothGrad, SmoothGrad-Squared and VarGrad: a moment of a map over noisy copies."""

from abc import abstractmethod
from typing import Self, TypeVar

from pydantic import Field, model_validator
from torch import Tensor

from heatproof.batch import Batch
from heatproof.records import Explanation
from heatproof_shared_passes.based import Based, BasedParams
from heatproof_shared_passes.sampling import Tolerance, sampling_notes

from .noise import Moments, most, noise_moments

PLAIN = frozenset({"signed", "differentiable"})
"""The traits of the gradient, which is the map if no base is given."""


class NoisyParams(BasedParams):
    """The ``base`` explainer (by default the gradient), the number of noisy copies (``samples``) and the noise.

    ``sigma`` is the standard deviation, as a share of each image's range if ``relative``, otherwise in prepared units.
    ``antithetic`` copies come in pairs with opposite noise. If ``tolerance`` is set, each sample gets as many copies as
    the relative standard error of its mean map needs to fall to it, at most ``max_samples``.
    """

    samples: int = Field(default=25, ge=1, le=100_000)
    sigma: float = Field(default=0.15, ge=0, le=1e6)
    relative: bool = True
    antithetic: bool = False
    tolerance: float | None = Field(default=None, gt=0, le=1e6)
    max_samples: int = Field(default=1000, ge=1, le=100_000)

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if self.tolerance is None:
            self._require_default("max_samples", "without a tolerance")
            self._require_pairs("samples")
        else:
            self._require_default("samples", "with a tolerance")
            self._require_pairs("max_samples")
        return self

    def _require_default(self, name: str, condition: str) -> None:
        if getattr(self, name) != type(self).model_fields[name].default:
            raise ValueError(f"{name} has no effect {condition}; leave it out")

    def _require_pairs(self, name: str) -> None:
        number = getattr(self, name)
        if self.antithetic and number % 2:
            raise ValueError(f"antithetic copies come in pairs; {name} must be even, not {number}")

    @property
    def count(self) -> int | Tolerance:
        """The number of copies, or the tolerance that decides it."""
        if self.tolerance is None:
            return self.samples
        return Tolerance(self.tolerance, self.max_samples)


P = TypeVar("P", bound=NoisyParams, covariant=True)


class Noisy(Based[P]):
    """A moment of a base explainer's map over noisy copies of the image.

    The noise of a copy depends on the run's seed, the sample and the copy's index; all moments of one base and noise
    share the copies. The note ``relative_error`` is, for every moment, the standard error of the mean map relative to
    that map in the L2 norm; ``passes`` counts the backward passes. With a tolerance, the note ``stopped_by`` is
    ``tolerance`` if it was reached, or else ``limit``.
    """

    revision = 2

    @property
    def traits(self) -> frozenset[str]:
        """Seeded; differentiable if the base is."""
        return frozenset({"seeded"}) | (self._base_traits & {"differentiable"})

    @property
    def _base_traits(self) -> frozenset[str]:
        """The traits of the base."""
        if self.params.base is None:
            return PLAIN
        return self.params.base.traits

    def repeated(self, passes: tuple[int, int]) -> tuple[int, int]:
        """The passes of the base, once per copy; with a tolerance, for the largest number of copies."""
        copies = most(self.params.count)
        return copies * passes[0], copies * passes[1]

    @property
    def shares(self) -> str:
        """The noisy maps, by everything that they depend on."""
        settings = self.params
        base = "gradient"
        if settings.base is not None:
            base = settings.base.identity
        return f"noise moments of {base} {settings.count} {settings.sigma} {settings.relative} {settings.antithetic}"

    @property
    def spaces(self) -> frozenset[int]:
        """The numbers of spatial dimensions that the base supports."""
        if self.params.base is None:
            return frozenset({2, 3})
        return self.params.base.spaces

    def explain(self, batch: Batch) -> Explanation:
        """Maps of the base's shape (n, c or 1, *space)."""
        settings = self.params
        moments = noise_moments(
            batch, settings.count, settings.sigma, relative=settings.relative, antithetic=settings.antithetic,
            base=settings.base,
        )  # fmt: skip
        return Explanation(self.moment(moments), notes=sampling_notes(moments, settings.count))

    @abstractmethod
    def moment(self, moments: Moments) -> Tensor:
        """The moment that is this explainer's map."""
        raise NotImplementedError
