"""The explainer that shows the attention that a network computes in its own forward pass."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.errors import ModelError, near
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import outputs
from heatproof.records import Array, Explanation, Verdict

OUTPUT = "attention"
"""The output of a network that holds its maps, and the capability of the models that have it."""
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""Number of spatial dimensions → the name of linear interpolation in torch."""
ROUNDING = 8
"""The machine epsilons, relative to the largest value, by which the values of a uniform map may differ."""
MOST_MAPS = 16
"""The number of maps that estimates of memory assume."""


class AttentionParams(Params):
    """Which ``map`` of the network: its index from 0, its name where the model names them, or ``last``."""

    map: Annotated[int, Field(strict=True, ge=0, le=10_000)] | Annotated[str, Field(max_length=200)] = "last"


class Attention(Explainer[AttentionParams]):
    """A map of attention that the network computes itself, such as that of Jetley et al. 2018 or an attention gate.

    It shows where the network takes its features from, whichever class is asked for, and not whether they speak for the
    class. It is the model's output ``attention`` (n, maps, *grid), which is never negative, resized to the image by
    linear interpolation (corners not aligned) and never scaled. All maps are kept as the array ``attention``. The note
    ``degenerate`` is 1 for a map that is the same everywhere. Models have the capability ``attention``, and name their
    maps by an attribute ``attention_names``.
    """

    requires = frozenset({OUTPUT})
    traits = frozenset({"targetless", "differentiable"})
    passes = (1, 0)
    reads_logits = True

    def stored(self, image: Array) -> int:
        """The bytes of as many maps as estimates assume."""
        return 4 * MOST_MAPS * math.prod(image.shape[1:])

    def verdict(self, model: Model) -> Verdict:
        """Exact where the model gives attention and has the map; undefined otherwise."""
        verdict = super().verdict(model)
        names = _names(model)
        if verdict.level == "undefined" or (not names and not isinstance(self.params.map, str)):
            return verdict
        try:
            self._index(model, len(names) or 1)
        except ModelError as error:
            return Verdict("undefined", str(error).rstrip("."))
        return verdict

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space); raises ``ModelError`` where the model has no such map, or its output is no map."""
        maps = _maps(batch)
        heat = maps[:, [self._index(batch.model, maps.shape[1])]]
        values = heat.detach().flatten(1)
        rounding = ROUNDING * torch.finfo(values.dtype).eps * values.amax(1)
        degenerate = values.amax(1) - values.amin(1) <= rounding
        resized = functional.interpolate(heat, size=batch.space, mode=LINEAR[len(batch.space)], align_corners=False)
        notes = {"degenerate": degenerate.double().tolist()}
        return Explanation(resized, notes=notes, kept={OUTPUT: maps.detach()})

    def _index(self, model: Model, count: int) -> int:
        """The index of the map among ``count``; raises ``ModelError`` if there is no such map."""
        setting = self.params.map
        names = _names(model)
        if setting in names:
            return names.index(str(setting))
        if setting == "last":
            return count - 1
        if isinstance(setting, int) and setting < count:
            return setting
        advice = f"give an index below {count}, or last"
        if names:
            advice = near(str(setting), {*names, "last"})
        raise ModelError(f"{model.short} has no map of attention {setting!r}; {advice.rstrip('.')}.")


def _names(model: Model) -> tuple[str, ...]:
    """The names of a model's maps, in order; empty if it names none."""
    return tuple(getattr(model, "attention_names", ()))


def _maps(batch: Batch) -> Tensor:
    """The maps (n, maps, *grid) of a batch; raises ``ModelError`` for anything else."""
    model = batch.model
    values = outputs(batch).get(OUTPUT)
    if values is None:
        raise ModelError(
            f"{model.short} has the capability {OUTPUT!r}, but its network gives no output {OUTPUT!r} with a row per "
            "image; name it in the model's outputs."
        )
    shape = tuple(values.shape)
    names = _names(model)
    if len(shape) != batch.images.ndim or 0 in shape or (names and shape[1] != len(names)):
        count = len(names) or "maps"
        raise ModelError(f"the attention of {model.short} has shape {shape}; allowed: (images, {count}, *grid).")
    if bool((values.detach() < 0).any()):
        raise ModelError(
            f"the attention of {model.short} is negative somewhere; let its network return the weights after the "
            "softmax or sigmoid."
        )
    return values
