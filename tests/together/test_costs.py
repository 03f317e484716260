"""The estimated costs of a plan against its passes, disk and memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from heatproof.errors import DataError
from heatproof.plan.plan import make_plan
from heatproof.testing.toys import Linear, Regions
from heatproof_costs.estimate import estimates, peak
from heatproof_parts import Images


@pytest.fixture
def estimated(parts: Any, configured: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **settings: estimates(make_plan(configured(**settings), parts))


def test_passes_that_are_shared_are_paid_once(estimated: Callable[..., Any]) -> None:
    """Slope and layered share the gradient pass of a target; noted takes a pass of its own, random none."""
    (alone,) = estimated(explainers=["slope"])
    assert (alone.samples, alone.forwards, alone.backwards, alone.heatmaps) == (8, 16, 8, 16)
    (shared,) = estimated(explainers=["slope", "layered"], reductions=["max", "sum"])
    assert (shared.forwards, shared.backwards, shared.heatmaps) == (16, 8, 40)
    (together,) = estimated(explainers=["slope", "noted"])
    assert (together.forwards, together.backwards) == (24, 16)
    (two,) = estimated(explainers=["slope"], targets=["left", "right"])
    assert (two.forwards, two.backwards, two.heatmaps) == (24, 16, 24)


def test_disk_is_that_of_raw_maps(estimated: Callable[..., Any]) -> None:
    (estimate,) = estimated(explainers=["slope"])
    assert estimate.disk == 8 * 2 * 16 * 16 * 4


def test_every_dataset_and_model_is_estimated(estimated: Callable[..., Any]) -> None:
    estimates = estimated(models=["regions", "linear"], explainers=["slope"])
    assert [(estimate.dataset, estimate.model) for estimate in estimates] == [
        ("images", "regions"),
        ("images", "linear"),
    ]
    assert [estimate.heatmaps for estimate in estimates] == [16, 8]


def test_two_settings_of_one_model_are_told_apart(estimated: Callable[..., Any]) -> None:
    models = ["regions", {"use": "regions", "seed": 1}]
    assert [estimate.model for estimate in estimated(models=models, explainers=["slope"])] == [
        "regions",
        "regions(seed=1)",
    ]


def test_memory_holds_weights_and_what_the_pass_keeps() -> None:
    """A linear model holds its weights (in both views) and its input."""
    model = Linear()
    sample = model.prepare(Images(count=8).load("blob-000"))
    weights = 2 * 3 * 16 * 16 * 4
    assert peak(model, sample, []) >= 2 * weights
    assert peak(model, sample, []) <= 2 * weights + 4 * sample.image.nbytes
    layered = Regions()
    activations = 2 * (2 * 16 * 16 + 2 * 8 * 8) * 4
    assert peak(layered, sample, ["0", "3"]) >= peak(layered, sample, []) + activations
    assert torch.is_grad_enabled()


def test_a_first_sample_that_cannot_be_read_does_not_matter(estimated: Callable[..., Any]) -> None:
    data = {"use": "images", "split": "test", "count": 16}
    ids = [f"blob-{index:03}" for index in range(8, 16)]
    (estimate,) = estimated(datasets=[{**data, "unreadable": ids[:1]}], explainers=["slope"])
    assert estimate.samples == 8
    with pytest.raises(DataError, match=r"no sample of images can be read for regions \(tried: 8\); check its folder"):
        estimated(datasets=[{**data, "unreadable": ids}], explainers=["slope"])
