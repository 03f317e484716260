"""Class activation maps."""

import torch
from torch import Tensor, fx

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Explanation, Verdict

from .head import Head, features, head
from .layered import noted, resized, weighted


class Cam(Explainer):
    """The last features of a network, weighted as its linear layer weights their pooled values (Zhou et al. 2016).

    The sum over channels of weight times feature, for networks that end in a global pooling, of averages (Zhou) or of
    maxima (Oquab et al. 2015), and one linear layer; on all others it is undefined. The features are what is pooled: in
    residual networks the sum after the last block. Signed, brought to the size of the image by linear interpolation and
    never scaled; a map that is zero everywhere has the note ``degenerate`` 1.
    """

    requires = frozenset({"layers"})
    traits = frozenset({"signed", "differentiable"})
    passes = (1, 0)

    def verdict(self, model: Model) -> Verdict:
        """Exact where the network ends in a global pooling and one linear layer, undefined elsewhere."""
        verdict, network = super().verdict(model), model.outline.module
        if verdict.level == "undefined" or network is None:
            return verdict
        try:
            head(network, model.outputs[0], model.outputs)
        except ModelError as error:
            return Verdict("undefined", str(error))
        return verdict

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, 1, *space)."""
        module = batch.view.module
        assert isinstance(module, fx.GraphModule)
        found = head(module, batch.output, batch.view.names)
        with torch.set_grad_enabled(batch.differentiable):
            maps = batch.pieced(lambda piece: _activation(piece, module, found))
            return noted(resized(torch.cat(maps), batch.space))


def _activation(batch: Batch, module: fx.GraphModule, found: Head) -> Tensor:
    """The sum over channels of the target's weight times feature, (n, 1, *features' space)."""
    values = features(batch, module, found)
    classes = torch.arange(found.linear.out_features, device=values.device).expand(len(batch), -1)
    weights = found.linear.weight[batch.pick(classes)]
    return weighted(weights.reshape(*values.shape[:2], *(1,) * len(batch.space)), values)
