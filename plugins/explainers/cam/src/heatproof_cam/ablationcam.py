"""Ablation-CAM at any layer."""

import torch

from heatproof.batch import Batch
from heatproof.model import Model
from heatproof.passes import activations
from heatproof.records import Explanation, Verdict

from .ablation import ablated_scores
from .channels import USUAL_CHANNELS, channels
from .layered import AtLayer, RectifiedParams, rectified, weighted_sum


class AblationCam(AtLayer[RectifiedParams]):
    """The channels of one layer, weighted by how far the score falls without them (Desai and Ramaswamy 2020).

    The weight of a channel is the score minus the score with this channel set to zero, and the map is ReLU of the
    weighted sum of channels. The paper divides all weights of an image by its score. This changes nothing but the scale
    of a map, and its sign where the score is negative, so it is left out. Of a layer of tokens, a channel is set to
    zero in all of them, also in that of the class. Only what comes after the layer is computed anew for each channel.
    The network must be traceable.
    """

    passes = (2 + USUAL_CHANNELS, 0)

    @property
    def traits(self) -> frozenset[str]:
        """Signed without ReLU."""
        return frozenset() if self.params.relu else frozenset({"signed"})

    def verdict(self, model: Model) -> Verdict:
        """Undefined if the network cannot be traced."""
        verdict = super().verdict(model)
        if verdict.level != "undefined" and model.outline.module is None:
            reason = f"no channel of {model.short} can be set to zero: it cannot be traced ({model.outline.reason})"
            return Verdict("undefined", reason)
        return verdict

    def cost(self, model: Model, space: tuple[int, ...]) -> tuple[int, int]:
        """A forward for the activations, and two more than channels, of which all but one compute the rest alone."""
        return 2 + channels(model, self.params.layer, space), 0

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        layer = batch.model.layer(self.params.layer)
        values = activations(batch)[layer]
        scores = torch.stack([ablated_scores(single, layer) for single in batch.singles()])
        weights = scores[:, -1:] - scores[:, :-1]
        weights = weights.reshape(*values.shape[:2], *(1,) * len(batch.space))
        return self.resized(rectified(weighted_sum(weights, values), self.params), batch)
