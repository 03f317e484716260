"""Class activation maps."""

import torch
from torch import Tensor, fx

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Explanation, Verdict

from .head import Head, features, find_head
from .layered import resize, weighted_sum, with_notes


class Cam(Explainer):
    """The last features of a network, with the weights that its linear layer gives to them (Zhou et al. 2016).

    The map is the sum over channels of weight times feature. It is defined for networks that end in a global pooling,
    of averages (Zhou) or of maxima (Oquab et al. 2015), and one linear layer, and undefined for all others. The
    features are the input of the pooling: in residual networks the sum after the last block. The map is signed, resized
    to the image by linear interpolation, and never scaled. A map that is the same everywhere has the note
    ``degenerate`` 1.
    """

    revision = 2
    requires = frozenset({"layers"})
    traits = frozenset({"signed", "differentiable"})
    passes = (1, 0)

    def verdict(self, model: Model) -> Verdict:
        """Exact if the network ends in a global pooling and one linear layer, else undefined."""
        verdict = super().verdict(model)
        if verdict.level == "undefined":
            return verdict
        network = model.outline.module
        if network is None:
            return Verdict(
                "undefined", f"{model.short} cannot be traced ({model.outline.reason}), so its head is unknown"
            )
        try:
            find_head(network, model.explained, model.outputs)
        except ModelError as error:
            return Verdict("undefined", str(error))
        return verdict

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        module = batch.view.module
        assert isinstance(module, fx.GraphModule)
        head = find_head(module, batch.output, batch.view.names)
        with torch.set_grad_enabled(batch.differentiable):
            maps = batch.pieced(lambda piece: _activation_maps(piece, module, head))
            return with_notes(resize(torch.cat(maps), batch.space))


def _activation_maps(batch: Batch, module: fx.GraphModule, head: Head) -> Tensor:
    """The sum over channels of the target's weight times feature, (n, 1, *features' space)."""
    values = features(batch, module, head)
    weights = batch.pick(head.linear.weight.expand(len(batch), -1, -1))
    return weighted_sum(weights.reshape(*values.shape[:2], *(1,) * len(batch.space)), values)
