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

from .assignment import PROPAGATING, Assignment, assigned, of_composite, of_layers, of_preset
from .exactness import exactness
from .graph import entry
from .presets import PRESETS, preset_name
from .propagation import Propagation
from .relevance import relevance_network, stem, unchanged
from .rules import BatchNormRule
from .settings import KINDS, LayerRule, RuleSettings, known

DEFAULT = "sequential_preset_a"
CHOICES: Mapping[str, Callable[[Any, Mapping[str, Any]], list[Assignment]]] = {
    "preset": of_preset, "composite": of_composite, "layers": of_layers,
}  # fmt: skip
"""The Param that chooses rules → what it assigns to layers."""

ABOVE: Mapping[str, Callable[[Any], Any]] = {
    "preset": lambda name: replace(PRESETS[name], first=None),
    "composite": lambda name: name.removesuffix("_flat"),
    "layers": lambda layers: [layer for layer in layers if layer.kind != "first"],
}
"""The Param that chooses rules → what of its value says which rules hold above the first layer."""

STARTS: Mapping[str, Callable[[Tensor], Tensor]] = {"score": Tensor.detach, "one": torch.ones_like}
"""Where relevance starts: with the target's score, or with 1."""


class LrpParams(RuleSettings):
    """The rules: one of ``preset``, ``composite`` (Zennit's) and ``layers`` (the first entry that fits a layer holds).

    Without any of them the preset is ``sequential_preset_a``. ``start``: relevance begins as ``one`` at the target's
    logit, or as its ``score``. ``batch_norm``: ``merged`` into convolutions, or by the rule of ``innvestigate``. The
    other settings are those of the rules.
    """

    preset: str | None = None
    composite: str | None = None
    layers: tuple[LayerRule, ...] = ()
    start: Literal["score", "one"] = "one"
    batch_norm: Literal["merged", "innvestigate"] = "merged"

    @model_validator(mode="before")
    @classmethod
    def _default(cls, values: Any) -> Any:
        """Without a choice the preset is the default one."""
        undecided = isinstance(values, dict) and not any(values.get(choice) for choice in CHOICES)
        return values | {"preset": DEFAULT} if undecided else values

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, preset: str | None) -> str | None:
        return preset and preset_name(preset)

    @field_validator("composite")
    @classmethod
    def _known_composite(cls, composite: str | None) -> str | None:
        return composite and known("composite", composite, PROPAGATING)

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        chosen = [choice for choice in CHOICES if getattr(self, choice)]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} both choose the rules; give one of {', '.join(CHOICES)}")
        self.assignments()
        return self

    def assignments(self) -> list[Assignment]:
        """Which rule holds where; raises ``ValueError`` for a setting that the chosen rules do not take."""
        choice = self._choice()
        made = CHOICES[choice](getattr(self, choice), self.given())
        return [Assignment(BatchNormRule(), KINDS["batch_norm"]), *made] if self.batch_norm == "innvestigate" else made

    def above(self) -> str:
        """What decides everything above the first layer; two Params of which this is the same share it."""
        choice = self._choice()
        settings = (sorted(self.given().items()), self.start, self.batch_norm)
        return repr((choice, ABOVE[choice](getattr(self, choice)), settings))

    def _choice(self) -> str:
        return next(choice for choice in CHOICES if getattr(self, choice))


class Lrp(Explainer[LrpParams]):
    """Relevance of the score, shared among the inputs of each layer by what they contributed (Bach et al. 2015).

    The rules are Zennit's; sums, means and average pools share by contribution, max-pools give to the winner,
    activations pass on. No canonizer is attached: BatchNorm is merged by the folded view. Relevance starts at the
    target's logit, before softmax or sigmoid, as 1, so that a negative score does not turn the signs.
    The note ``relevance_share`` is the sum of the map relative to that start, 1 where the rules conserve it; a map that
    is zero everywhere has the note ``degenerate`` 1.
    """

    revision = 2

    @property
    def traits(self) -> frozenset[str]:
        """Signed where every rule keeps the signs of contributions and relevance starts as the score."""
        signed = self.params.preset in ("z", "z_ib", "epsilon", "epsilon_ib") and self.params.start == "score"
        return frozenset({"signed"} if signed else ())

    @property
    def shares(self) -> str:
        """All above the layer that reads the image, where there is one: it is walked once for rules alike there."""
        return f"lrp {self.params.above()}"

    def verdict(self, model: Model) -> Verdict:
        """Exact, approximate or undefined by the layers of the model."""
        verdict = super().verdict(model)
        own = self.params.batch_norm == "innvestigate"
        return verdict if verdict.level == "undefined" else exactness(model, own)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        network = self._network(batch)
        rules, first = assigned(network, self.params.assignments()), entry(network, (Linear,))
        key = ("shared", self.shares) if first else ("lrp", self.identity)
        relevance, start = batch.once(key, lambda: self._above(batch, rules, first))
        if first:
            relevance = self._below(batch, stem(network, first), rules, relevance)
        sums, dark = relevance.flatten(1).sum(1), relevance.flatten(1).abs().amax(1) == 0
        notes = {"relevance_share": (sums / start).tolist(), "degenerate": dark.double().tolist()}
        return Explanation(relevance, notes=notes)

    def _above(self, batch: Batch, rules: Mapping[str, Hook], first: str | None) -> tuple[Tensor, Tensor]:
        """The relevance of what the first layer makes of the images, or of the images; and its start (n,)."""

        def act(piece: Batch) -> tuple[Tensor, Tensor]:
            walk = Propagation(self._network(piece), rules, first)
            images = piece.images.detach().requires_grad_(first is None)
            with torch.enable_grad(), unchanged(walk.module):
                score = piece.pick(piece.explained(self._outputs(piece, walk, images)))
                start = STARTS[self.params.start](score)
                return self._relevance(score, images if walk.entered is None else walk.entered, start), start

        relevance, start = (torch.cat(part) for part in zip(*batch.pieced(act)))
        return relevance, start

    def _below(self, batch: Batch, network: fx.GraphModule, rules: Mapping[str, Hook], given: Tensor) -> Tensor:
        """The relevance of the images, where that of what the first layer makes of them is given."""

        def act(piece: slice) -> Tensor:
            part = batch.select(range(len(batch))[piece])
            images = part.images.detach().requires_grad_()
            with torch.enable_grad(), unchanged(network):
                (made,) = self._outputs(part, Propagation(network, rules), images).values()
                return self._relevance(made, images, given[piece])

        return torch.cat(batch.budget.pieced(len(batch), act))

    def _network(self, batch: Batch) -> fx.GraphModule:
        view = self._view(batch)
        assert isinstance(view.module, fx.GraphModule)
        return relevance_network(view.module)

    def _view(self, batch: Batch) -> Any:
        return batch.model.view(batch.images, batch.inputs, folded=self.params.batch_norm == "merged")

    def _outputs(self, batch: Batch, walk: Propagation, images: Tensor) -> Mapping[str, Tensor]:
        """What the walk makes of images, and of the batch's inputs, by name."""
        view = copy(self._view(batch))
        view.module = walk
        outputs: Mapping[str, Tensor] = view(images, batch.inputs)[0]
        return outputs

    @staticmethod
    def _relevance(made: Tensor, asked: Tensor, start: Tensor) -> Tensor:
        return torch.autograd.grad(made, asked, start, materialize_grads=True)[0]
