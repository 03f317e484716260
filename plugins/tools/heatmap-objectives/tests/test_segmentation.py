from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from heatproof.errors import DataError, ModelError
from heatproof.model import Model
from heatproof_heatmap_objectives import segmentation
from heatproof_heatmap_objectives.annotated import AnnotatedParams, targets
from heatproof_heatmap_objectives.segmentation import Segmentation


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_the_loss_is_the_weighted_sum_of_two_cross_entropies(unet, samples, step, head):
    record = step(unet(head=head), samples)
    losses = Segmentation(gamma=0.3).losses(record)
    answers = functional.binary_cross_entropy_with_logits(record.outputs["logits"], torch.eye(3).double())
    maps = targets(record, AnnotatedParams()).maps
    mask = functional.binary_cross_entropy_with_logits(record.outputs["mask"], maps)
    assert losses["classification"].item() == pytest.approx(answers.item(), rel=1e-12)
    assert losses["segmentation"].item() == pytest.approx(mask.item(), rel=1e-12)
    assert losses["loss"].item() == pytest.approx(0.3 * answers.item() + 0.7 * mask.item(), rel=1e-12)
    exclusive = Segmentation(classification="cross_entropy").losses(record)["classification"]
    expected = functional.cross_entropy(record.outputs["logits"], torch.arange(3))
    assert exclusive.item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_default_weight_is_that_of_the_authors_code(unet, samples, step, monkeypatch):
    """0.41731 × 0.6 + 0.58269 × 0.4, by hand."""
    terms = {"bce": lambda step: torch.tensor(0.6, dtype=torch.float64)}
    monkeypatch.setattr(segmentation, "CLASSIFICATIONS", terms)
    monkeypatch.setattr(segmentation, "of_logits", lambda *maps: torch.full((3,), 0.4, dtype=torch.float64))
    assert Segmentation().losses(step(unet(), samples))["loss"].item() == pytest.approx(0.483462, abs=5e-7)


def test_with_gamma_1_the_decoder_has_no_gradient_and_with_gamma_0_no_classifier_has(unet, samples, step):
    model = unet()
    for gamma, still, moving in ((1, "decoder", "classifier"), (0, "classifier", "decoder")):
        model.network.zero_grad()
        Segmentation(gamma=gamma).losses(step(model, samples))["loss"].backward()
        for name, largest in ((still, 0), (moving, None), ("deep", None)):
            part = getattr(model.network, name)
            gradient = max(float(weight.grad.abs().max()) for weight in part.parameters())
            assert gradient == 0 if largest == 0 else gradient > 1e-6


def test_skipped_samples_do_not_change_the_mean(unet, samples, step):
    record = step(unet(), [samples[0], replace(samples[1], annotations=()), samples[2]])
    losses = Segmentation(unannotated="skip").losses(record)
    expected = [
        Segmentation().losses(step(record.batch.model, [samples[row]]))["segmentation"].item() for row in (0, 2)
    ]
    assert losses["segmentation"].item() == pytest.approx(sum(expected) / 2, rel=1e-10)
    with pytest.raises(DataError, match="s1 has no annotation of 'gaze'"):
        Segmentation().losses(record)


def test_several_labels_are_classified_each(unet, samples, step):
    record = step(unet(head="sigmoid"), [replace(samples[0], label=(0, 2))])
    classification = Segmentation().losses(record)["classification"]
    expected = functional.binary_cross_entropy_with_logits(
        record.outputs["logits"], torch.tensor([[1.0, 0.0, 1.0]]).double()
    )
    assert classification.item() == pytest.approx(expected.item(), rel=1e-12)
    with pytest.raises(DataError, match="has 2 labels, but the objective needs a single one"):
        Segmentation(classification="cross_entropy").losses(record)


def test_models_without_mask_or_classes_are_refused(unet, samples, step):
    Segmentation().require(unet())
    with pytest.raises(ModelError, match="needs the output 'mask', which Linear does not have"):
        Segmentation().require(Model.of(nn.Linear(1, 3), "abc"))
    with pytest.raises(ModelError, match="needs the output 'lungs'"):
        Segmentation(output="lungs").require(unet())
    with pytest.raises(ModelError, match="trains models with the head softmax or sigmoid"):
        Segmentation().require(unet(head="regression"))
    record = step(unet(), samples)
    coarse = SimpleNamespace(batch=record.batch, outputs={"mask": record.outputs["mask"][..., ::2]})
    with pytest.raises(ModelError, match=r"shape \(3, 1, 6, 3\); .* \(3, 1, 6, 6\): resize it"):
        Segmentation().mask(coarse)
