"""What SmoothGrad, SmoothGrad-Squared and VarGrad share: the moments of a map under noise."""

from abc import abstractmethod

from pydantic import Field, PositiveInt
from torch import Tensor

from salix.batch import Batch
from salix.component import Params
from salix.explainer import Explainer
from salix.model import Model
from salix.passes import Moments, noise_moments
from salix.records import Explanation, Verdict

PLAIN = frozenset({"signed", "differentiable"})
"""What is true of the gradient, which stands where no base is given."""


class NoisyParams(Params):
    """The explainer under noise (the gradient where none is given), the number of noisy copies and the noise's size.

    ``sigma`` is the standard deviation as a share of each image's range, or in prepared units where not ``relative``.
    """

    base: Explainer | None = None
    samples: PositiveInt = 25
    sigma: float = Field(default=0.15, ge=0, allow_inf_nan=False)
    relative: bool = True


class Noisy(Explainer):
    """A moment of a base explainer's map over noisy copies of the picture.

    Copies are drawn by the run's seed, the sample and their number; all moments of one base and noise share them. The
    note ``relative_error`` is the standard error of the mean map relative to that map, in the L2 norm.
    """

    Params = NoisyParams
    params: NoisyParams

    @property
    def traits(self) -> frozenset[str]:
        """Seeded; differentiable where the base is."""
        kept = {"differentiable"} & (self.params.base.traits if self.params.base else PLAIN)
        return frozenset({"seeded", *kept})

    @property
    def passes(self) -> tuple[int, int]:
        """Those of the base, once per copy."""
        forwards, backwards = self.params.base.passes if self.params.base else (1, 1)
        return self.params.samples * forwards, self.params.samples * backwards

    @property
    def shares(self) -> str:
        """The noisy maps, named by all that they depend on."""
        settings = self.params
        base = settings.base.identity if settings.base else "gradient"
        return f"noise moments of {base} {settings.samples} {settings.sigma} {settings.relative}"

    def verdict(self, model: Model) -> Verdict:
        """The base's."""
        return self.params.base.verdict(model) if self.params.base else super().verdict(model)

    def layers(self, model: Model) -> tuple[str, ...]:
        """The base's."""
        return self.params.base.layers(model) if self.params.base else ()

    def explain(self, batch: Batch) -> Explanation:
        """Maps of the base's shape (n, c or 1, *space)."""
        settings = self.params
        found = noise_moments(batch, settings.samples, settings.sigma, relative=settings.relative, base=settings.base)
        notes = {} if settings.samples == 1 else {"relative_error": found.relative_error.detach().tolist()}
        return Explanation(self.moment(found), notes=notes)

    @abstractmethod
    def moment(self, found: Moments) -> Tensor:
        """The map that this explainer makes of the moments."""
        raise NotImplementedError
