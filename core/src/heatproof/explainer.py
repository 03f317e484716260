"""Explainers: they compute heatmaps of a target, under a guard that restores the model and all random states."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self, final

from torch import Tensor

from .batch import Batch, Request, require_finite
from .component import Component, P
from .errors import ModelError, PluginError
from .guard import guarded
from .model import Model
from .records import Array, Explanation, Verdict

REDUCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "max": lambda values: values.amax(1),
        "abs_max": lambda values: values.abs().amax(1),
        "sum": lambda values: values.sum(1),
        "l2": lambda values: values.square().sum(1).sqrt(),
    }
)
"""How channels (n, c, *space) become a heatmap (n, *space); Van Craenendonck et al. 2020 use the signed ``max``."""


def heatmaps(explanation: Explanation, reduction: str) -> Array:
    """Reduce the channels of an explanation to heatmaps (n, *space) float32, as they are stored."""
    values: Tensor = REDUCTIONS[reduction](explanation.values.detach())
    return values.float().cpu().numpy()


class Explainer(Component[P]):
    """A heatmapping method. A subclass must implement ``explain``; everything else has a default."""

    @cached_property
    def requires(self) -> frozenset[str]:
        """The capabilities of a model that the method needs."""
        return frozenset({"gradients"})

    @cached_property
    def spaces(self) -> frozenset[int]:
        """The numbers of spatial dimensions that the method supports."""
        return frozenset({2, 3})

    @property
    def supported(self) -> str:
        """``spaces`` in words, such as ``2-D or 3-D``."""
        return " or ".join(f"{space}-D" for space in sorted(self.spaces))

    @cached_property
    def traits(self) -> frozenset[str]:
        """Properties that the method claims and the conformance kit checks; a subclass may set them as an attribute.

        ``signed``, ``complete`` (values sum to the score less the score of the reference), ``seeded`` (random, by the
        batch's seed), ``differentiable``, ``targetless`` (the same map for every target), ``model_free`` (never uses
        the model), ``baseline`` (the others of a run are compared with it; model-free).
        """
        return frozenset()

    @cached_property
    def passes(self) -> tuple[int, int]:
        """Forward and backward passes per sample for a heatmap by itself, for estimates before a run."""
        return (1, 1)

    def cost(self, model: Model, space: tuple[int, ...]) -> tuple[int, int]:
        """``passes`` on a model and grid; override it where they depend on these."""
        return self.passes

    @cached_property
    def shares(self) -> str:
        """The name of the shared pass that ``passes`` describe; explainers with the same name pay it once.

        The result of ``batch.once`` with the key ``("shared", shares)`` is freed when the last of them has run.
        """
        return ""

    def sharing(self, model: Model) -> str:
        """``shares`` on a model; override it where it depends on the model whether the pass can be shared."""
        return self.shares

    @cached_property
    def reads_logits(self) -> bool:
        """Whether ``explain`` needs ``passes.logits``: ``passes`` counts this forward, which a run makes anyway."""
        return False

    @cached_property
    def memory(self) -> float:
        """The most memory of its passes relative to what autograd keeps of a gradient pass, for estimates."""
        return 2.0

    def stored(self, image: Array) -> int:
        """The most bytes that an explanation of an image (c, *space) keeps beside the heatmap, for estimates."""
        return 0

    @abstractmethod
    def explain(self, batch: Batch) -> Tensor | Explanation:
        """Values (n, c or 1, *space) in the dtype of ``batch.images``; positive values are evidence for the target.

        Raises ``Undefined`` for a sample that has no heatmap by the method's definition.
        """
        raise NotImplementedError

    def expand(self, model: Model) -> Iterable[Self]:
        """The explainers that these settings stand for; ``layer: all`` gives one per layer."""
        return (self,)

    def layers(self, model: Model) -> tuple[str, ...]:
        """The full names of the layers that ``explain`` observes."""
        return ()

    def requests(self, model: Model) -> tuple[Request, ...]:
        """What ``explain`` needs of shared passes; requests that differ only in the last word share a forward pass."""
        return ()

    def verdict(self, model: Model) -> Verdict:
        """Whether the method's definition holds on this model."""
        if "model_free" not in self.traits and (missing := sorted(self.requires - model.capabilities)):
            reason = f"{self.short} needs {' and '.join(missing)}, which {model.short} does not offer"
            if "layers" in missing and model.outline.reason:
                reason += f": its network cannot be traced ({model.outline.reason})"
            return Verdict("undefined", reason)
        try:
            model.require_layers(self.layers(model))
            model.require_explaining(self.layers(model))
        except ModelError as error:
            return Verdict("undefined", str(error).rstrip("."))
        return Verdict("exact")

    @final
    def __call__(self, batch: Batch) -> Explanation:
        """Call ``explain`` inside the guard, which restores model, process and random states, also after an error.

        Raises ``Interference`` if weights, images, shared results or the state of the process were changed.
        """
        if len(batch.space) not in self.spaces:
            raise ModelError(
                f"{self.short} explains {self.supported} images; these have {len(batch.space)} dimensions."
            )
        verdict = self.verdict(batch.model)
        if verdict.level == "undefined":
            raise ModelError(f"{verdict.reason}.")
        if missing := sorted(set(self.layers(batch.model)) - set(batch.layers)):
            raise PluginError(f"{self.name} needs the layer {missing[0]!r}; give layers(model) to the batch.")
        if "model_free" not in self.traits:
            require_finite(batch.images, batch.ids, "the image", "repair it, or leave it out")
        with guarded(self.name, batch, "model_free" in self.traits):
            explanation = self.explain(batch)
        if not isinstance(explanation, Explanation):
            explanation = Explanation(explanation)
        self._check(explanation.values, batch)
        return explanation

    def _check(self, values: Any, batch: Batch) -> None:
        """Raise ``PluginError`` unless the values have the shape and dtype of the images."""
        if not isinstance(values, Tensor):
            raise PluginError(f"explain of {self.name} must return a tensor (got {values!r:.40}).")
        shapes = {(len(batch), channels, *batch.space) for channels in (1, batch.images.shape[1])}
        if tuple(values.shape) not in shapes:
            allowed = " or ".join(map(str, sorted(shapes)))
            raise PluginError(f"{self.name} returned shape {tuple(values.shape)}; allowed: {allowed}.")
        if values.dtype != batch.images.dtype:
            raise PluginError(f"{self.name} returned {values.dtype}; allowed: {batch.images.dtype}.")
