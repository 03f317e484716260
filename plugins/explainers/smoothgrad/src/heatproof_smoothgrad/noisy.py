"""What SmoothGrad, SmoothGrad-Squared and VarGrad share: the moments of a map under noise."""

from abc import abstractmethod
from typing import Self, TypeVar

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Explanation, Verdict
from heatproof_shared_passes.sampling import Tolerance, sampling_notes

from .noise import Moments, noise_moments

PLAIN = frozenset({"signed", "differentiable"})
"""What is true of the gradient, which stands where no base is given."""


class NoisyParams(Params):
    """The explainer under noise (the gradient where none is given), the number of noisy copies and the noise's size.

    ``sigma`` is the standard deviation as a share of each image's range, or in prepared units where not ``relative``.
    ``antithetic`` copies come in pairs with opposite noise. With a ``tolerance``, the relative standard error of the
    mean map that is asked for, each sample has as many copies as it needs instead, but no more than ``max_samples``.
    """

    base: Explainer | None = None
    samples: PositiveInt = 25
    sigma: float = Field(default=0.15, ge=0, allow_inf_nan=False)
    relative: bool = True
    antithetic: bool = False
    tolerance: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_samples: PositiveInt = 1000

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        used, unused = ("samples", "max_samples") if self.tolerance is None else ("max_samples", "samples")
        if getattr(self, unused) != type(self).model_fields[unused].default:
            raise ValueError(f"{unused} has no effect {'without' if self.tolerance is None else 'with'} a tolerance")
        if self.antithetic and getattr(self, used) % 2:
            raise ValueError(f"antithetic copies come in pairs; {used} must be even, not {getattr(self, used)}")
        return self

    @property
    def count(self) -> int | Tolerance:
        """The number of copies, or what decides it."""
        return self.samples if self.tolerance is None else Tolerance(self.tolerance, self.max_samples)


P = TypeVar("P", bound=NoisyParams, covariant=True)


class Noisy(Explainer[P]):
    """A moment of a base explainer's map over noisy copies of the image.

    Copies are drawn by the run's seed, the sample and their number; all moments of one base and noise share them. The
    note ``relative_error`` is the standard error of the mean map relative to that map, in the L2 norm, whichever moment
    is asked for; ``passes`` counts the backward passes. With a tolerance ``stopped_by`` says whether it was met or the
    limit ended the drawing.
    """

    @property
    def requires(self) -> frozenset[str]:
        """Those of the base."""
        return self.params.base.requires if self.params.base else frozenset({"gradients"})

    @property
    def traits(self) -> frozenset[str]:
        """Seeded; differentiable where the base is."""
        kept = {"differentiable"} & (self.params.base.traits if self.params.base else PLAIN)
        return frozenset({"seeded", *kept})

    @property
    def passes(self) -> tuple[int, int]:
        """Those of the base, once per copy (with a tolerance: at most)."""
        settings = self.params
        forwards, backwards = settings.base.passes if settings.base else (1, 1)
        copies = settings.samples if settings.tolerance is None else settings.max_samples
        return copies * forwards, copies * backwards

    @property
    def shares(self) -> str:
        """The noisy maps, named by all that they depend on."""
        settings = self.params
        base = settings.base.identity if settings.base else "gradient"
        return f"noise moments of {base} {settings.count} {settings.sigma} {settings.relative} {settings.antithetic}"

    def verdict(self, model: Model) -> Verdict:
        """The base's."""
        return self.params.base.verdict(model) if self.params.base else super().verdict(model)

    def layers(self, model: Model) -> tuple[str, ...]:
        """The base's."""
        return self.params.base.layers(model) if self.params.base else ()

    def explain(self, batch: Batch) -> Explanation:
        """Maps of the base's shape (n, c or 1, *space)."""
        settings = self.params
        found = noise_moments(
            batch, settings.count, settings.sigma, relative=settings.relative, antithetic=settings.antithetic,
            base=settings.base,
        )  # fmt: skip
        return Explanation(self.moment(found), notes=sampling_notes(found, settings.count))

    @abstractmethod
    def moment(self, found: Moments) -> Tensor:
        """The map that this explainer makes of the moments."""
        raise NotImplementedError
