"""Heatmaps with their autograd graph, so that a loss on them reaches the weights."""

from torch import Tensor

from heatproof.errors import ModelError
from heatproof.explainer import REDUCTIONS, Explainer
from heatproof.model import Model
from heatproof.records import Explanation
from heatproof_objectives.step import Step, evaluating


def require_differentiable(explainer: Explainer, model: Model) -> None:
    """Raise ``ModelError`` unless the explainer has the trait ``differentiable`` and is defined on the model.

    This also traces the network, in evaluation mode, before the first epoch.
    """
    if "differentiable" not in explainer.traits:
        raise ModelError(
            f"{explainer.short} lacks the trait 'differentiable', so no loss on its heatmaps reaches the weights; "
            "choose an explainer with it, such as gradient, guided_backprop, deconvnet or gradcam."
        )
    with evaluating(model.network):
        verdict = explainer.verdict(model)
    if verdict.level == "undefined":
        raise ModelError(f"{verdict.reason}.")


def explained(explainer: Explainer, step: Step) -> Tensor:
    """Compute the explanation (n, c or 1, *space) of the labels with its graph, the network in evaluation mode.

    In training mode BatchNorm would couple the samples of a batch in the backward pass. Raises ``ModelError`` in a
    training step if the explanation is detached from the weights, and ``DataError`` for a sample with no or several
    labels.
    """
    step.labels()
    model = step.batch.model
    with evaluating(model.network):
        explanation = explainer.explain(step.batch.at(layers=explainer.layers(model)))
    values: Tensor = explanation.values if isinstance(explanation, Explanation) else explanation
    if step.training and not values.requires_grad:
        raise ModelError(
            f"the heatmaps of {explainer.short} are detached from the weights of {model.short}, so a loss on them "
            "trains nothing; choose an explainer that keeps its graph, or train with weights that require gradients."
        )
    return values


def heatmaps(explainer: Explainer, step: Step, reduction: str = "max") -> Tensor:
    """Compute the signed heatmaps (n, 1, *space) of the labels with their graph; see ``explained``."""
    maps: Tensor = REDUCTIONS[reduction](explained(explainer, step))
    return maps[:, None]
