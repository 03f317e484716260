"""AttnLRP."""

from copy import copy
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, fx

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import leaf
from heatproof.records import Explanation, Verdict

from .exactness import exactness
from .propagation import Propagation, Settings


class AttentionLrpParams(Params):
    """``gamma`` favours contributions of the output's sign in linear layers, ``gamma_convolution`` in convolutions.

    The defaults are values that the authors' example for vision transformers tries; with 0 the rule is the
    epsilon rule. ``epsilon`` is added to the output of these layers, with its sign, where relevance is divided by it.
    ``softmax``: ``taylor`` sends relevance through the weights of attention too, as AttnLRP does; ``constant`` sends
    all of it through the values (CP-LRP, Ali et al. 2022).
    """

    gamma: Annotated[float, Field(ge=0)] = 0.05
    gamma_convolution: Annotated[float, Field(ge=0)] = 0.25
    epsilon: Annotated[float, Field(ge=0)] = 1e-6
    softmax: Literal["taylor", "constant"] = "taylor"


class AttentionLrp(Explainer[AttentionLrpParams]):
    """Relevance of the score, distributed through a transformer by the rules of AttnLRP (Achtibat et al. 2024).

    Linear layers and convolutions have the epsilon or the gamma rule. Activations pass relevance on unchanged, and the
    standard deviation of a normalisation counts as a constant. Each of two factors gets half of a product's relevance.
    A softmax s of x with relevance R passes x (R - s ΣR) on. Relevance starts as the target's score.
    Biases, position embeddings and the tokens of class, distillation and registers take their share, and so does the
    softmax, unless it is ``constant``: the note ``relevance_share`` is the sum of the map divided by the score, and is
    1 for a network without any of these. A map that is zero everywhere has the note ``degenerate`` 1.
    """

    requires = frozenset({"self_attention"})
    traits = frozenset[str]()
    memory = 4.0  # a rule keeps the input and the output of its layer

    def verdict(self, model: Model) -> Verdict:
        """Exact, approximate or undefined, depending on the layers of the model."""
        verdict = super().verdict(model)
        if verdict.level == "undefined" and model.outline.attentions and all(model.outline.attentions.values()):
            return verdict
        return exactness(self.short, model)

    def explain(self, batch: Batch) -> Explanation:
        """Maps (n, c, *space)."""
        relevance, scores = (torch.cat(parts) for parts in zip(*batch.pieced(self._relevance)))
        total = relevance.flatten(1).sum(1)
        share = torch.where(scores == 0, 0, total / torch.where(scores == 0, 1, scores))
        is_zero = relevance.flatten(1).abs().amax(1) == 0
        notes = {"relevance_share": share.tolist(), "degenerate": is_zero.double().tolist()}
        return Explanation(relevance, notes=notes)

    def _relevance(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The relevance of the images (n, c, *space), and the scores (n,)."""
        view: Any = copy(batch.model.view(batch.images, batch.inputs))
        assert isinstance(view.module, fx.GraphModule)
        params = self.params
        settings = Settings(params.gamma, params.gamma_convolution, params.epsilon, params.softmax == "constant")
        view.module = Propagation(view.module, settings)
        images = leaf(batch)
        with torch.enable_grad():
            outputs, _ = view(images, batch.inputs)
            scores = batch.pick(batch.summed(batch.explained(outputs)))
            (gradient,) = torch.autograd.grad(scores.sum(), images, materialize_grads=True)
        return (images * gradient).detach(), scores.detach()
