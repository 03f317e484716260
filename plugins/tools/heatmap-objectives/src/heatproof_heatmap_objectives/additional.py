"""Objectives that add a term to the loss of another objective."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import TypeVar

from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Sample
from heatproof_objectives.objective import LOSS, Objective
from heatproof_objectives.step import Step

from .annotated import AnnotatedParams, require_annotated
from .maps import require_differentiable


class AdditionalParams(Params):
    """The objective that the term is added to, and the weight of the term.

    ``base``: any objective, such as cross_entropy. ``weight``: that of the term; the loss of the base has weight 1.
    """

    base: Objective
    weight: float = Field(default=1.0, ge=0, le=1e12)

    @property
    def unsure(self) -> tuple[str, ...]:
        """The settings that have to be checked on the samples."""
        return ()

    @property
    def targeted(self) -> tuple[str, ...]:
        """The findings that are targets."""
        return ()


class HeatmapTermParams(AnnotatedParams, AdditionalParams):
    """The settings of a term that compares heatmaps with annotations."""


P = TypeVar("P", bound=AdditionalParams, default=AdditionalParams, covariant=True)


class Additional(Objective[P]):
    """The loss of the base + weight · a term; the base's loss is logged as ``base``, with its other losses."""

    term_name: ClassVar[str]

    @property
    def explainer(self) -> Explainer | None:
        """The explainer whose heatmaps are in the term, if there is one."""
        return None

    @abstractmethod
    def term(self, step: Step) -> Tensor:
        """The term, a scalar."""
        raise NotImplementedError

    @cached_property
    def labelled(self) -> bool:
        """Whether every sample needs a label: where the base does, or a heatmap of the label is computed."""
        return self.params.base.labelled or self.explainer is not None

    @property
    def open(self) -> tuple[str, ...]:
        """The open settings of the base, and those that ``fit`` checks on the samples."""
        return (*self.params.base.open, *self.params.unsure)

    def fit(self, samples: Iterable[Sample]) -> Self:
        """This objective with its base fitted; raises ``DataError`` where all samples would be skipped."""
        if self.params.base.open:
            samples = list(samples)
        if self.params.unsure:
            require_annotated(samples, self.params.targeted)
        return self.with_(base=self.params.base.fit(samples)) if self.params.base.open else self

    def require(self, model: Model) -> None:
        """Raise ``ModelError`` for a model that does not fit the base, or on which the explainer is not defined."""
        self.params.base.require(model)
        if self.explainer is not None:
            require_differentiable(self.explainer, model)

    def layers(self, model: Model) -> tuple[str, ...]:
        """The layers that the base reads."""
        return self.params.base.layers(model)

    def modules(self, model: Model) -> nn.Module | None:
        """The modules of the base."""
        return self.params.base.modules(model)

    def losses(self, step: Step) -> Mapping[str, Tensor]:
        """Return ``loss``, ``base``, the term and the other losses of the base; raises ``DataError`` as they do."""
        losses = self.params.base.losses(step)
        term = self.term(step)
        total = losses[LOSS] + self.params.weight * term
        return {**losses, LOSS: total, "base": losses[LOSS], self.term_name: term}
