"""Paired tests of two models by AUC: p must not depend on the scale on which a model's scores are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from heatproof.results.significance import paired_test
from heatproof_auc.auc import Auc
from heatproof_auc.delong import paired

Array = NDArray[Any]

SCALES: dict[str, Callable[[Array], Array]] = {
    "larger": lambda scores: 50 * scores + 3, "smaller": lambda scores: scores / 1e4, "curved": np.exp, "odd": np.tanh,
}  # fmt: skip


def models(seed: int, cases: int = 80, gap: float = 0.6) -> tuple[Array, Array, Array]:
    """The scores of two models that agree in part, and whether each case is positive."""
    generator = np.random.default_rng(seed)
    positive = np.arange(cases) % 2
    shared = generator.normal(size=cases)
    first = shared + generator.normal(size=cases) + (1 + gap) * positive
    return first, shared + generator.normal(size=cases) + positive, positive.astype(float)


def compared(first: Array, second: Array, positive: Array) -> Any:
    metric = Auc()
    a, b = ({"auc": np.column_stack([scores, positive])} for scores in (first, second))
    ids = [str(number) for number in range(len(positive))]
    return paired_test(metric.summarise, a, b, ids, "auc", 2000, 0, metric.exchangeable)


def test_it_agrees_with_the_test_of_delong() -> None:
    for seed in range(4):
        first, second, positive = models(seed, cases=120, gap=0.4)
        closed = paired(first, second, positive == 1, [str(number) for number in range(120)])
        assert compared(first, 30 * second, positive).p == pytest.approx(closed.p, abs=0.06)


@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_of_a_model_does_not_matter(scale: str) -> None:
    first, second, positive = models(0)
    usual = compared(first, second, positive)
    scaled = compared(first, SCALES[scale](second), positive)
    assert (scaled.p, scaled.difference) == (usual.p, usual.difference)


def test_two_equal_models_differ_by_chance_only() -> None:
    """With another scale for one of two equally good models, p <= 0.1 happens in one trial of ten."""
    positives = 0
    for seed in range(100):
        first, second, positive = models(seed, cases=40, gap=0)
        positives += compared(first, 1000 * second, positive).p <= 0.1
    assert 3 <= positives <= 19
