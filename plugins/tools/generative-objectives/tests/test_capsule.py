from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.errors import DataError, ModelError
from heatproof_generative_objectives.capsule import Capsule
from heatproof_generative_objectives.scores import fitted

NAMES = ("margin", "texture")
RNG = np.random.default_rng(1)
LOGITS = RNG.normal(size=(3, 5))
LENGTHS = RNG.uniform(size=(3, 2))
IMAGES = RNG.uniform(size=(3, 1, 4, 4))


class Rater(nn.Module):
    """A network that is never called."""

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError


@pytest.fixture
def rater(model_of):
    return model_of(Rater(), "logits", "attributes", "reconstruction", classes="12345")


@pytest.fixture
def record(rater, samples, step):
    outputs = {"logits": LOGITS, "attributes": LENGTHS, "reconstruction": IMAGES}
    return step(rater, samples, **{name: torch.from_numpy(values) for name, values in outputs.items()})


def bell(scores: tuple[int, ...]) -> list[float]:
    """The density of the normal distribution at 1 … 5, divided by its sum, as the authors' code computes it."""
    deviation = max(np.std(scores), 0.05)
    density = [
        np.exp(-(((value - np.mean(scores)) / deviation) ** 2) / 2) / (np.sqrt(2 * np.pi) * deviation)
        for value in (1.0, 2.0, 3.0, 4.0, 5.0)
    ]
    return [value / sum(density) for value in density]


@pytest.mark.parametrize("scores", [(1, 2, 2), (3, 4), (1, 5, 5, 5), (2, 4), (3,), (5, 5, 5, 5)])
def test_gaussians_of_scores(scores):
    assert fitted(scores, 5).tolist() == pytest.approx(bell(scores), rel=1e-9, abs=1e-12)
    assert fitted(scores, 5).sum() == pytest.approx(1)
    if len(set(scores)) == 1:
        assert fitted(scores, 5)[scores[0] - 1] == pytest.approx(1, abs=1e-12)


def test_the_three_parts_by_loops(record, samples):
    """The divergence, the squared errors of two attributes, and the squared error of the image inside of the nodule."""
    losses = Capsule(attributes=NAMES, attribute_weight=2).losses(record)
    divergences = []
    errors = []
    for sample, logits, lengths in zip(samples, LOGITS, LENGTHS):
        probabilities = np.exp(logits) / np.exp(logits).sum()
        shares = bell(sample.extras["scores"]["malignancy"])
        divergences.append(sum(share * np.log(share / p) for share, p in zip(shares, probabilities) if share > 0))
        targets = [(np.mean(sample.extras["scores"][name]) - 1) / 4 for name in NAMES]
        errors.append(sum((length - target) ** 2 for length, target in zip(lengths, targets)))
    nodule = samples[0].mask("nodule")
    inside = [((image - sample.image * nodule) ** 2).mean() for image, sample in zip(IMAGES, samples)]
    assert losses["diagnosis"].item() == pytest.approx(np.mean(divergences), rel=1e-10)
    assert losses["attributes"].item() == pytest.approx(np.mean(errors), rel=1e-10)
    assert losses["reconstruction"].item() == pytest.approx(np.mean(inside), rel=1e-10)
    total = np.mean(divergences) + 2 * np.mean(errors) + 0.512 * np.mean(inside)
    assert losses["loss"].item() == pytest.approx(total, rel=1e-10)
    whole = Capsule(attributes=NAMES, finding=None).losses(record)["reconstruction"]
    assert whole.item() == pytest.approx(((IMAGES - record.batch.images.numpy()) ** 2).mean(), rel=1e-10)


def test_the_weight_of_the_reconstruction_is_that_of_capsule_networks():
    """0.0005 of the sum of squares over 32 × 32 pixels."""
    assert Capsule().params.reconstruction_weight == pytest.approx(0.0005 * 32 * 32)
    assert not Capsule().labelled


def test_models_and_samples_that_do_not_fit_are_refused(rater, record, samples, step, model_of):
    objective = Capsule(attributes=NAMES)
    objective.require(rater)
    with pytest.raises(ModelError, match="needs the output 'attributes'"):
        objective.require(model_of(Rater(), "logits", "reconstruction"))
    with pytest.raises(ModelError, match="trains models with the head softmax"):
        objective.require(model_of(Rater(), "logits", "attributes", "reconstruction", head="sigmoid"))
    rater.attribute_names = ("texture", "margin")
    with pytest.raises(ModelError, match="has the attributes texture, margin; Capsule trains margin, texture"):
        objective.require(rater)
    with pytest.raises(ModelError, match=r"has shape \(3, 2\); Capsule has 6 attributes, so it should be \(3, 6\)"):
        Capsule().losses(record)
    faults = {
        "no reader scored 'texture' on sample s0 .scored: malignancy, margin.": {"malignancy": (1,), "margin": (2,)},
        "'margin' on sample s0 is scored .6.0., allowed: 1 to 5": {"malignancy": (1,), "margin": (6,), "texture": (2,)},
        "s0 has no scores by attribute among its extras": None,
    }
    for message, scores in faults.items():
        wrong = replace(samples[0], extras={"scores": scores})
        with pytest.raises(DataError, match=message.replace(",", ".")):
            objective.losses(step(rater, [wrong, *samples[1:]], **record.outputs))
    unexamined = [replace(samples[0], annotations=()), *samples[1:]]
    with pytest.raises(DataError, match="nobody examined sample s0 for nodule"):
        objective.losses(step(rater, unexamined, **record.outputs))
