from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.errors import DataError, ModelError
from heatproof_generative_objectives.words import Words, cross_entropies

WORDS = ("clear", "lungs", "opacity")


class Writer(nn.Module):
    """Writes two words, each from the image and the word before it, and classifies the image."""

    def __init__(self):
        super().__init__()
        self.vectors = nn.Embedding(4, 3)
        self.word = nn.Linear(4, 4)
        self.classifier = nn.Linear(1, 3)

    def forward(self, images: Tensor, words: Tensor | None = None) -> dict[str, Tensor]:
        brightness = images.mean((1, 2, 3))[:, None]
        token = torch.zeros(len(images), dtype=torch.long)
        logits = []
        for position in range(2):
            logits.append(self.word(torch.cat([self.vectors(token), brightness], 1)))
            token = logits[-1].argmax(1) if words is None else words[:, position]
        return {"logits": self.classifier(brightness), "word_logits": torch.stack(logits, 1)}


def tokens(reports: list[str]) -> Tensor:
    rows = [[WORDS.index(word) + 1 for word in report.split()] for report in reports]
    return torch.tensor([[*row, 0, 0][:2] for row in rows])


@pytest.fixture
def writer(model_of):
    model = model_of(Writer(), "logits", "word_logits")
    model.tokens = tokens
    return model


def test_each_word_follows_the_true_words_before_it(writer, samples, step):
    """By a loop over the reports "clear lungs", "opacity" and "clear", whose ends count while there is room."""
    losses = Words(classification=0.5).losses(step(writer, samples))
    network = writer.network
    expected = []
    for sample in samples:
        truth = tokens([sample.extras["report"]])[0].tolist()
        terms = []
        for before, word in zip([0, truth[0]], truth):
            features = torch.cat([network.vectors.weight[before], torch.tensor([sample.image.mean()])])
            terms.append(-network.word(features).log_softmax(0)[word].item())
        expected.append(np.mean(terms))
    assert losses["words"].item() == pytest.approx(np.mean(expected), rel=1e-10)
    logits = step(writer, samples).outputs["logits"].log_softmax(1)
    assert losses["classification"].item() == pytest.approx(-logits.diagonal().mean().item(), rel=1e-10)
    assert losses["loss"].item() == pytest.approx(
        losses["words"].item() + 0.5 * losses["classification"].item(), rel=1e-12
    )


def test_what_follows_the_end_of_a_report_does_not_count():
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 4, 3)))
    truth = torch.tensor([[1, 0, 0, 2], [2, 1, 1, 2]])
    shares = logits.log_softmax(2)
    first = -(shares[0, 0, 1] + shares[0, 1, 0]) / 2
    second = -(shares[1, 0, 2] + shares[1, 1, 1] + shares[1, 2, 1] + shares[1, 3, 2]) / 4
    assert cross_entropies(logits, truth).tolist() == pytest.approx([first.item(), second.item()], rel=1e-12)


def test_the_loss_falls_along_its_gradient(writer, samples, step):
    objective = Words(classification=0)
    objective.require(writer)
    loss = objective.losses(step(writer, samples))["loss"]
    weights = [writer.network.word.weight, writer.network.vectors.weight]
    gradients = torch.autograd.grad(loss, weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients):
            weight -= 0.1 * gradient
    unlabelled = [replace(sample, label=None) for sample in samples]
    assert objective.losses(step(writer, unlabelled))["loss"] < loss
    assert not objective.labelled


def test_models_and_samples_without_words_are_refused(writer, samples, step, model_of):
    with pytest.raises(ModelError, match="needs the output 'sentence'"):
        Words(output="sentence").require(writer)
    with pytest.raises(ModelError, match=r"Writer has no tokens\(reports\)"):
        Words().require(model_of(Writer(), "logits", "word_logits"))
    for extras in ({}, {"report": " "}, {"report": 3}):
        with pytest.raises(DataError, match="sample s0 has no text 'report' among its extras"):
            Words().losses(step(writer, [replace(samples[0], extras=extras)]))
    with pytest.raises(DataError, match="has no label"):
        Words().losses(step(writer, [replace(samples[0], label=None)]))
