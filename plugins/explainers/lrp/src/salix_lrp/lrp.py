"""Layer-wise relevance propagation."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, Literal, Self

import torch
from pydantic import field_validator, model_validator
from torch import Tensor, fx

from salix.batch import Batch
from salix.explainer import Explainer
from salix.model import Model
from salix.records import Explanation, Verdict

from .assignment import PROPAGATING, Assignment, assigned, of_composite, of_layers, of_preset
from .exactness import exactness
from .presets import preset_name
from .relevance import attached, relevance_network
from .rules import BatchNormRule
from .settings import KINDS, LayerRule, Settings, known

DEFAULT = "sequential_preset_a"
CHOICES: Mapping[str, Callable[[Any, Mapping[str, Any]], list[Assignment]]] = {
    "preset": of_preset, "composite": of_composite, "layers": of_layers,
}  # fmt: skip
"""The Param that chooses rules → what it assigns to layers."""

STARTS: Mapping[str, Callable[[Tensor], Tensor]] = {"score": Tensor.detach, "one": torch.ones_like}
"""Where relevance starts: with the target's score, or with 1."""


class LrpParams(Settings):
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
        choice = next(choice for choice in CHOICES if getattr(self, choice))
        made = CHOICES[choice](getattr(self, choice), self.given())
        return [Assignment(BatchNormRule(), KINDS["batch_norm"]), *made] if self.batch_norm == "innvestigate" else made


class Lrp(Explainer):
    """Relevance of the score, shared among the inputs of each layer by what they contributed (Bach et al. 2015).

    The rules are Zennit's; sums, means and average pools share by contribution, max-pools give to the winner,
    activations pass on. No canonizer is attached: BatchNorm is merged by the folded view. Relevance starts at the
    target's logit, before softmax or sigmoid, as 1 (specification 0), so that a negative score does not turn the signs.
    The note ``relevance_share`` is the sum of the map relative to that start, 1 where the rules conserve it; a map that
    is zero everywhere has the note ``degenerate`` 1.
    """

    Params = LrpParams
    params: LrpParams

    @property
    def traits(self) -> frozenset[str]:
        """Signed where every rule keeps the signs of contributions and relevance starts as the score."""
        signed = self.params.preset in ("z", "z_ib", "epsilon", "epsilon_ib") and self.params.start == "score"
        return frozenset({"signed"} if signed else ())

    def verdict(self, model: Model) -> Verdict:
        """Exact, approximate or undefined by the layers of the model."""
        verdict = super().verdict(model)
        own = self.params.batch_norm == "innvestigate"
        return verdict if verdict.level == "undefined" else exactness(model, own)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        parts = batch.pieced(self._propagated)
        relevance, start = (torch.cat(part) for part in zip(*parts))
        sums, dark = relevance.flatten(1).sum(1), relevance.flatten(1).abs().amax(1) == 0
        notes = {"relevance_share": (sums / start).tolist(), "degenerate": dark.double().tolist()}
        return Explanation(relevance, notes=notes)

    def _propagated(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The relevance of the images (n, c, *space), and with what it started (n,)."""
        view = copy(batch.model.view(batch.images, batch.inputs, folded=self.params.batch_norm == "merged"))
        assert isinstance(view.module, fx.GraphModule)
        view.module = network = relevance_network(view.module)
        images = batch.images.detach().requires_grad_()
        with torch.enable_grad(), attached(network, assigned(network, self.params.assignments())):
            outputs, _ = view(images, batch.inputs)
            score = batch.pick(batch.explained(outputs))
            start = STARTS[self.params.start](score)
            (relevance,) = torch.autograd.grad(score, images, start, materialize_grads=True)
        return relevance, start
