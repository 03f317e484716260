from math import log

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Head, Model
from heatproof.records import Label, Sample
from heatproof_objectives.step import Step
from heatproof_training.cross_entropy import CrossEntropy
from heatproof_training.multi_label import MultiLabel
from heatproof_training.ordinal import Ordinal
from heatproof_training.regression import Regression


def model_of(head: Head, classes: int = 5) -> Model:
    return Model.of(nn.Flatten(), [f"class {index}" for index in range(classes)], head=head)


def step_of(model: Model, logits: Tensor, labels: list[Label]) -> Step:
    samples = [Sample(str(row), np.zeros((1, 2, 2), np.float32), label=label) for row, label in enumerate(labels)]
    batch = Batch(
        model, [sample.id for sample in samples], torch.zeros(len(labels), 1, 2, 2).double(), [0] * len(labels)
    )
    return Step(batch, {"logits": logits}, samples, True)


def logits_of(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def test_ordinal_of_a_sigmoid() -> None:
    """Positions 2, 3.52318831 and 1.07576569; the mean of the squared errors 0, 0.22734939 and 1.15727181."""
    loss = Ordinal().losses(step_of(model_of("ordinal"), logits_of([0.0], [2.0], [-1.0]), [2, 4, 0]))["loss"]
    assert loss.item() == pytest.approx(0.46154040, abs=1e-8)
    losses = [float(Ordinal().losses(step_of(model_of("ordinal"), logits_of([z]), [y]))["loss"]) for z, y in
              ((0.0, 2), (2.0, 4), (-1.0, 0))]  # fmt: skip
    assert losses == pytest.approx([0, 0.22734939, 1.15727181], abs=1e-8)


def test_ordinal_of_an_expectation() -> None:
    objective = Ordinal(form="expectation")
    logits = logits_of([0, 0, 0, 0, log(4)])
    loss = objective.losses(step_of(model_of("softmax"), logits, [4]))["loss"]
    assert float(loss) == pytest.approx(1.5625)
    loss.backward()
    expected = [0.859375, 0.546875, 0.234375, -0.078125, -1.5625]
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx(expected)
    loss = objective.losses(step_of(model_of("softmax"), logits_of([0, 1, 2, 1, 0]), [3]))["loss"]
    assert float(loss) == pytest.approx(1)


def test_regression_is_the_mean_squared_error() -> None:
    loss = Regression().losses(step_of(model_of("regression"), logits_of([0.5], [3.0]), [1, 4]))["loss"]
    assert float(loss) == pytest.approx((0.25 + 1) / 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_against_its_definition(smoothing: float) -> None:
    rows = np.random.default_rng(0).normal(size=(4, 3))
    labels = [0, 2, 1, 2]
    probabilities = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    targets = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    objective = CrossEntropy(smoothing=smoothing)
    loss = objective.losses(step_of(model_of("softmax", 3), logits_of(*rows.tolist()), labels))["loss"]
    assert float(loss) == pytest.approx(-(targets * np.log(probabilities)).sum(axis=1).mean())
    shared = 1 / (1 + np.exp(-rows[:, 0]))
    binary = np.array([0, 1, 1, 0])
    targets = binary * (1 - smoothing) + smoothing / 2
    loss = objective.losses(step_of(model_of("sigmoid", 2), logits_of(*rows[:, :1].tolist()), binary.tolist()))["loss"]
    assert float(loss) == pytest.approx(-(targets * np.log(shared) + (1 - targets) * np.log(1 - shared)).mean())


def test_multi_label_against_its_definition() -> None:
    rows = np.random.default_rng(1).normal(size=(3, 3))
    targets = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    weights = np.array([2.0, 1.0, 0.5])
    share = 1 / (1 + np.exp(-rows))
    step = step_of(model_of("sigmoid", 3), logits_of(*rows.tolist()), [(0, 2), (), 1])
    loss = MultiLabel(positive_weight=tuple(weights)).losses(step)["loss"]
    expected = -(weights * targets * np.log(share) + (1 - targets) * np.log(1 - share)).mean()
    assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("objective", "model", "message"),
    [
        (Ordinal(), model_of("softmax"), "ordinal trains models with the head ordinal; .* has the head softmax"),
        (Ordinal(form="expectation"), model_of("ordinal"), "head softmax"),
        (Regression(), model_of("ordinal"), "head regression"),
        (CrossEntropy(), model_of("regression"), "head softmax or sigmoid"),
        (CrossEntropy(), model_of("sigmoid", 3), "Use multi_label, or a softmax head"),
        (MultiLabel(), model_of("softmax"), "head sigmoid"),
        (MultiLabel(positive_weight=(1.0, 2.0)), model_of("sigmoid", 3), "2 numbers, but .* has 3 classes"),
    ],
)
def test_models_that_do_not_fit_are_refused(objective, model: Model, message: str) -> None:
    with pytest.raises(ModelError, match=f"(?i){message}"):
        objective.require(model)


def test_outputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="one output that two classes share"):
        CrossEntropy().losses(step_of(model_of("sigmoid", 2), logits_of([0.0, 1.0]), [1]))
    with pytest.raises(ModelError, match="one output per class"):
        MultiLabel().losses(step_of(model_of("sigmoid", 2), logits_of([0.0]), [1]))
