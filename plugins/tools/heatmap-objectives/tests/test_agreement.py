from dataclasses import replace

import numpy as np
import pytest
import torch

from heatproof.errors import DataError, ModelError
from heatproof_heatmap_objectives.agreement import Agreement
from heatproof_heatmap_objectives.annotated import AnnotatedParams, targets
from heatproof_heatmap_objectives.distances import MEASURES

BOX = np.zeros((6, 6), np.float32)
BOX[1:4, 2:5] = 1


@pytest.mark.parametrize("measure", MEASURES)
def test_disagreement_has_the_gradient_of_finite_differences_and_falls(
    unet, samples, step, explainer, base, slopes, measure
):
    """Of guided backpropagation, with densities, in a network in training mode."""
    model = unet()
    objective = Agreement(base=base, explainer=explainer("guided"), measure=measure, weight=2)
    objective.require(model)
    losses = objective.losses(step(model, samples))
    assert losses["loss"].item() == pytest.approx(losses["base"].item() + 2 * losses["disagreement"].item())
    length, gap = slopes(model.network, lambda: objective.losses(step(model, samples))["disagreement"])
    assert length > 1e-3
    assert gap <= 1e-6
    losses = objective.losses(step(model, samples))
    parameters = list(model.network.parameters())
    gradients = torch.autograd.grad(losses["disagreement"], parameters, allow_unused=True, materialize_grads=True)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients):
            parameter -= 1e-3 / length * gradient
    assert objective.losses(step(model, samples))["disagreement"] < losses["disagreement"]


def outside(heat: np.ndarray) -> float:
    """The mean share of positive heat outside of the box."""
    positive = heat.clip(0)
    return float(np.mean([values[BOX == 0].sum() / values.sum() for values in positive]))


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_mass_is_the_share_of_positive_heat_outside(unet, samples, step, explainer, base, marked, kind):
    record = step(unet(), [marked(sample, ("nodule", BOX, kind)) for sample in samples])
    loss = Agreement(base=base, explainer=explainer("plain"), finding="nodule").losses(record)["disagreement"]
    explained = explainer("plain").explain(record.batch).detach().numpy()
    assert loss.item() == pytest.approx(outside(explained.max(1)), rel=1e-10)
    summed = Agreement(base=base, explainer=explainer("plain"), finding="nodule", reduction="sum").losses(record)[
        "disagreement"
    ]
    assert summed.item() == pytest.approx(outside(explained.sum(1)), rel=1e-10)


def test_empty_annotations_and_maps_of_zeros_are_defined(unet, samples, step, explainer, base, marked):
    model = unet()
    for measure in MEASURES:
        objective = Agreement(base=base, explainer=explainer("nothing"), measure=measure)
        losses = objective.losses(step(model, samples))
        assert bool(losses["loss"].isfinite())
        gradients = torch.autograd.grad(losses["loss"], list(model.network.parameters()), allow_unused=True)
        assert all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None)
        empty = [marked(sample, ("gaze", 0 * BOX, "density")) for sample in samples]
        assert objective.losses(step(model, empty))["disagreement"].item() == 0


def test_what_it_cannot_use_is_refused(unet, samples, step, explainer, base):
    with pytest.raises(ModelError, match="lacks the trait 'differentiable'"):
        Agreement(base=base, explainer=explainer("fixed")).require(unet())
    record = step(unet(), [samples[0], replace(samples[1], annotations=())])
    with pytest.raises(DataError, match=r"s1 has no annotation of 'gaze' \(it was examined for nothing\)"):
        Agreement(base=base, explainer=explainer("plain")).losses(record)
    skipping = Agreement(base=base, explainer=explainer("plain"), unannotated="skip").losses(record)["disagreement"]
    alone = Agreement(base=base, explainer=explainer("plain")).losses(step(record.batch.model, samples[:1]))[
        "disagreement"
    ]
    assert skipping.item() == pytest.approx(alone.item(), rel=1e-10)
    assert targets(record, AnnotatedParams(unannotated="skip")).present.tolist() == [True, False]
