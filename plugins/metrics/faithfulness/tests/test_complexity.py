"""Sparseness and entropy against plain formulas, closed forms, chance and, where it is installed, Quantus."""

from importlib.util import find_spec
from math import log
from typing import Any

import numpy as np
import pytest

from heatproof.errors import DataError, Undefined
from heatproof.metric import Case
from heatproof.records import Heatmap, Sample
from heatproof_faithfulness.complexity import Complexity


def measured(heat: Any, field: Any = None) -> dict[str, float]:
    heat = np.asarray(heat, dtype=np.float32)
    sample = Sample("one", np.zeros((1, *heat.shape), dtype=np.float32), field=field)
    return Complexity().measure(Case(sample, heatmap=Heatmap(heat)))


@pytest.mark.parametrize("space", [(6, 7), (2, 3, 4)])
def test_the_formulas_of_the_papers(space: tuple[int, ...]) -> None:
    """Chalasani et al. 2020 sort the absolute values v: 1 - 2 sum v_k / |v| (d - k + 1/2) / d."""
    heat = np.random.default_rng(0).normal(size=space).astype(np.float32)
    values = sorted(abs(float(value)) for value in heat.ravel())
    total = sum(values)
    count = len(values)
    gini = 1 - 2 * sum(value / total * (count - rank + 0.5) / count for rank, value in enumerate(values, 1))
    entropy = -sum(value / total * log(value / total) for value in values)
    assert measured(heat) == pytest.approx({"sparseness": gini, "entropy": entropy}, rel=1e-12)


@pytest.mark.parametrize("value", [2, -0.1])
def test_constant_and_single(value: float) -> None:
    assert measured(np.full((5, 8), value)) == pytest.approx({"sparseness": 0, "entropy": log(40)}, abs=1e-12)
    single = np.zeros((5, 8))
    single[2, 3] = value
    assert measured(single) == pytest.approx({"sparseness": 39 / 40, "entropy": 0}, abs=1e-12)
    half = np.zeros((5, 8))
    half[:, :4] = value
    assert measured(half) == pytest.approx({"sparseness": 1 / 2, "entropy": log(20)}, abs=1e-12)


def test_chance() -> None:
    """Uniform noise: E|x - y| / 2 E x = 1/3, and E(x ln x) / E x = -1/2 with E x = 1/2."""
    count = 1000 * 1000
    result = measured(np.random.default_rng(0).random((1000, 1000)))
    assert result["sparseness"] == pytest.approx(1 / 3, abs=0.002)
    assert result["entropy"] == pytest.approx(log(count) + 1 / 2 - log(2), abs=0.002)


def test_scale_and_sign_do_not_matter_but_the_field_does() -> None:
    heat = np.random.default_rng(1).normal(size=(6, 7)).astype(np.float32)
    assert measured(heat) == pytest.approx(measured(-4 * heat), rel=1e-12)
    field = np.zeros((6, 7), dtype=bool)
    field[1:4, 2:6] = True
    assert measured(heat, field) == measured(heat[1:4, 2:6])
    inside = np.where(field, 1, 5)
    assert measured(inside, field) == pytest.approx({"sparseness": 0, "entropy": log(12)}, abs=1e-12)


def test_undefined_with_a_reason() -> None:
    with pytest.raises(Undefined, match="zero everywhere"):
        measured(np.zeros((3, 4)))
    with pytest.raises(Undefined, match="not finite"):
        measured(np.full((3, 4), np.nan))
    with pytest.raises(Undefined, match="the field of the sample is empty"):
        measured(np.ones((3, 4)), np.zeros((3, 4), dtype=bool))
    case = Case(Sample("one", np.zeros((1, 3, 5), dtype=np.float32)), heatmap=Heatmap(np.ones((3, 4))))
    with pytest.raises(DataError, match=r"\(3, 4\), its image \(3, 5\)"):
        Complexity().measure(case)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("quantus") is None, reason="Quantus is not installed")
def test_quantus() -> None:
    """Quantus adds 1e-7 to each value for sparseness and 1e-12 to each share for entropy."""
    import quantus

    heat = np.random.default_rng(2).normal(size=(1, 1, 12, 12)).astype(np.float32)
    inputs = {"model": None, "x_batch": np.zeros_like(heat), "y_batch": np.array([0]), "device": "cpu"}
    for name, kind in (("sparseness", quantus.Sparseness), ("entropy", quantus.Complexity)):
        (expected,) = kind(abs=True, normalise=False, disable_warnings=True)(a_batch=heat.copy(), **inputs)
        assert measured(heat[0, 0])[name] == pytest.approx(float(expected), rel=1e-5)
