"""The base class of explainers that repeat a base explainer, such as the mean of its maps over noisy copies."""

from abc import abstractmethod
from typing import TypeVar

from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Verdict


class BasedParams(Params):
    """``base``: the explainer that is repeated; without it, a gradient, of one forward and one backward pass."""

    base: Explainer | None = None


P = TypeVar("P", bound=BasedParams, covariant=True)


class Based(Explainer[P]):
    """An explainer that needs, observes and costs what its base does, as often as ``repeated`` says."""

    @abstractmethod
    def repeated(self, passes: tuple[int, int]) -> tuple[int, int]:
        """The forward and backward passes of this explainer, from those of its base."""
        raise NotImplementedError

    @property
    def requires(self) -> frozenset[str]:
        """The capabilities that the base needs."""
        return frozenset({"gradients"}) if self.params.base is None else self.params.base.requires

    @property
    def memory(self) -> float:
        """That of the base."""
        return 2.0 if self.params.base is None else self.params.base.memory

    @property
    def passes(self) -> tuple[int, int]:
        """The passes of the base, repeated."""
        return self.repeated((1, 1) if self.params.base is None else self.params.base.passes)

    def cost(self, model: Model, space: tuple[int, ...]) -> tuple[int, int]:
        """``passes`` with the cost of the base."""
        return self.passes if self.params.base is None else self.repeated(self.params.base.cost(model, space))

    def layers(self, model: Model) -> tuple[str, ...]:
        """The layers that the base reads."""
        return () if self.params.base is None else self.params.base.layers(model)

    def verdict(self, model: Model) -> Verdict:
        """The verdict of the base."""
        return super().verdict(model) if self.params.base is None else self.params.base.verdict(model)
