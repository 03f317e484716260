"""Layer-wise relevance propagation."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from pydantic import field_validator, model_validator
from torch import Tensor, fx
from zennit.core import Hook
from zennit.types import Linear

from heatproof.batch import Batch
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Explanation, Verdict

from .assignment import PROPAGATING, Assignment, composite_assignments, map_assignments, preset_assignments, rules_of
from .exactness import exactness
from .graph import single_first_layer
from .presets import PRESETS, preset_name
from .propagation import Propagation
from .relevance import parameters_restored, relevance_network, stem
from .rules import BatchNormRule
from .settings import KINDS, LayerRule, RuleSettings, require_known

DEFAULT = "sequential_preset_a"
CHOICES: Mapping[str, Callable[[Any, Mapping[str, Any]], list[Assignment]]] = {
    "preset": preset_assignments, "composite": composite_assignments, "layers": map_assignments,
}  # fmt: skip
"""Name of a Param that chooses the rules → the function that assigns them to layers."""

ABOVE: Mapping[str, Callable[[Any], Any]] = {
    "preset": lambda name: replace(PRESETS[name], first=None),
    "composite": lambda name: name.removesuffix("_flat"),
    "layers": lambda layers: [layer for layer in layers if layer.kind != "first"],
}
"""Name of a Param that chooses the rules → the part of its value that decides the rules above the first layer."""

STARTS: Mapping[str, Callable[[Tensor], Tensor]] = {"score": Tensor.detach, "one": torch.ones_like}
"""Value of ``start`` → the relevance at the target, from its score."""


class LrpParams(RuleSettings):
    """The rules: a ``preset``, a ``composite`` of Zennit, or ``layers``, of which each layer has the first that fits.

    The default is the preset ``sequential_preset_a``. ``start``: relevance starts as ``one`` at the target's logit, or
    as its ``score``. ``batch_norm``: ``merged`` into convolutions, or by the rule of ``innvestigate``. The other
    settings are those of the rules.
    """

    preset: str | None = None
    composite: str | None = None
    layers: tuple[LayerRule, ...] = ()
    start: Literal["score", "one"] = "one"
    batch_norm: Literal["merged", "innvestigate"] = "merged"

    @model_validator(mode="before")
    @classmethod
    def _default(cls, values: Any) -> Any:
        """Choose the default preset if nothing chooses the rules."""
        if isinstance(values, dict) and not any(values.get(choice) for choice in CHOICES):
            return values | {"preset": DEFAULT}
        return values

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str | None) -> str | None:
        return preset and preset_name(preset)

    @field_validator("composite")
    @classmethod
    def _known_composite(cls, composite: str | None) -> str | None:
        return composite and require_known("composite", composite, PROPAGATING)

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        choices = [choice for choice in CHOICES if getattr(self, choice)]
        if len(choices) > 1:
            raise ValueError(f"{' and '.join(choices)} both choose the rules; give one of {', '.join(CHOICES)}")
        self.assignments()
        return self

    def assignments(self) -> list[Assignment]:
        """Assign rules to layers; raises ``ValueError`` for a setting that the chosen rules do not accept."""
        choice = self._choice()
        assignments = CHOICES[choice](getattr(self, choice), self.rule_settings())
        if self.batch_norm == "innvestigate":
            assignments.insert(0, Assignment(BatchNormRule(), KINDS["batch_norm"]))
        return assignments

    def above(self) -> str:
        """A key of all that decides the relevance above the first layer; Params with the same key share that part."""
        choice = self._choice()
        settings = (sorted(self.rule_settings().items()), self.start, self.batch_norm)
        return repr((choice, ABOVE[choice](getattr(self, choice)), settings))

    def _choice(self) -> str:
        """The name of the Param that chooses the rules."""
        return next(choice for choice in CHOICES if getattr(self, choice))


class Lrp(Explainer[LrpParams]):
    """Relevance of the score, distributed over the inputs of each layer by their contributions (Bach et al. 2015).

    The rules are those of Zennit. Sums, means and average pools distribute relevance by contribution, max-pools give
    it to the maximum, activations pass it on. No canonizer is attached, since the folded view merges BatchNorm.
    Relevance starts as 1 at the target's logit, before softmax or sigmoid: a negative score does not flip the signs.
    Of one sigmoid unit for two classes, the map of the first class is minus that of the second.
    The note ``relevance_share`` is the sum of the map divided by the relevance at the start, which is 1 where the
    rules conserve relevance. A map that is zero everywhere has the note ``degenerate`` 1.
    """

    revision = 3
    memory = 3.5  # a rule keeps the input of its layer, and runs the layer several times

    @property
    def traits(self) -> frozenset[str]:
        """Signed if every rule keeps the signs of contributions and relevance starts as the score."""
        if self.params.preset in ("z", "z_ib", "epsilon", "epsilon_ib") and self.params.start == "score":
            return frozenset({"signed"})
        return frozenset()

    @property
    def shares(self) -> str:
        """A key of the relevance above the first layer: explainers with the same key compute it once per batch."""
        return f"lrp {self.params.above()}"

    def sharing(self, model: Model) -> str:
        """``shares`` if a single layer reads the image; with several of them each explainer computes everything."""
        network = model.outline.module
        if network is None or single_first_layer(network, (Linear,)) is None:
            return ""
        return self.shares

    def verdict(self, model: Model) -> Verdict:
        """Exact, approximate or undefined, depending on the layers of the model."""
        verdict = super().verdict(model)
        if verdict.level == "undefined":
            return verdict
        return exactness(model, batch_norm_rule=self.params.batch_norm == "innvestigate")

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        network = self._network(batch)
        rules = rules_of(network, self.params.assignments())
        first_layer = single_first_layer(network, (Linear,))
        upper: Tensor | None = None
        if first_layer is not None:
            upper, start = batch.once(("shared", self.shares), lambda: self._above(batch, rules, first_layer))
        if first_layer is None or upper is None or len(upper) != len(batch):  # a row per slice cannot be divided
            relevance, start = batch.once(("lrp", self.identity), lambda: self._above(batch, rules, None))
        else:
            relevance = self._below(batch, stem(network, first_layer), rules, upper)
        total = relevance.flatten(1).sum(1)
        is_zero = relevance.flatten(1).abs().amax(1) == 0
        notes = {"relevance_share": (total / start).tolist(), "degenerate": is_zero.double().tolist()}
        return Explanation(relevance, notes=notes)

    def _above(self, batch: Batch, rules: Mapping[str, Hook], first_layer: str | None) -> tuple[Tensor, Tensor]:
        """The relevance of the first layer's output, or of the images without such a layer; and its start (n,)."""

        def act(piece: Batch) -> tuple[Tensor, Tensor]:
            propagation = Propagation(self._network(piece), rules, first_layer)
            images = piece.images.detach().requires_grad_(first_layer is None)
            with torch.enable_grad(), parameters_restored(propagation.module):
                logits = piece.explained(self._outputs(piece, propagation, images))
                piece.summed(logits)  # refuses logits and regions that do not belong together
                score = piece.pick(logits)
                sign = piece.pick(torch.ones_like(logits))
                # The unit of both classes starts as for the second; the score of the first turns the sign.
                start = STARTS[self.params.start](sign * score)
                if piece.region is not None:  # a pixel's logit has the relevance of its share of the sum
                    start = start * piece.region.to(start)
                source = images if propagation.first_output is None else propagation.first_output
                return _relevance(score, source, start), (sign * start).reshape(len(piece), -1).sum(1)

        relevance, start = (torch.cat(tensors) for tensors in zip(*batch.pieced(act)))
        return relevance, start

    def _below(self, batch: Batch, network: fx.GraphModule, rules: Mapping[str, Hook], upper: Tensor) -> Tensor:
        """The relevance of the images, from that of the first layer's output."""

        def act(piece: slice) -> Tensor:
            part = batch.select(range(len(batch))[piece])
            images = part.images.detach().requires_grad_()
            with torch.enable_grad(), parameters_restored(network):
                (output,) = self._outputs(part, Propagation(network, rules), images).values()
                return _relevance(output, images, upper[piece])

        return torch.cat(batch.budget.pieced(len(batch), act))

    def _network(self, batch: Batch) -> fx.GraphModule:
        view = self._view(batch)
        assert isinstance(view.module, fx.GraphModule)
        return relevance_network(view.module)

    def _view(self, batch: Batch) -> Any:
        return batch.model.view(batch.images, batch.inputs, folded=self.params.batch_norm == "merged")

    def _outputs(self, batch: Batch, propagation: Propagation, images: Tensor) -> Mapping[str, Tensor]:
        """The outputs for images and the batch's further inputs, by name."""
        view = copy(self._view(batch))
        view.module = propagation
        outputs: Mapping[str, Tensor] = view(images, batch.inputs)[0]
        return outputs


def _relevance(output: Tensor, source: Tensor, start: Tensor) -> Tensor:
    """The relevance of ``source``, where that of ``output`` is ``start``."""
    return torch.autograd.grad(output, source, start, materialize_grads=True)[0]
