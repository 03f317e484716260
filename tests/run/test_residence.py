"""A process holds the network of one model at a time, and none when its last task is done."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from heatproof.plan.plan import make_plan
from heatproof.registry.catalog import Catalog
from heatproof.run.residence import free, resident
from heatproof.testing.toys import Linear, Regions, Residual
from heatproof_costs.estimate import estimates

MODELS = ["regions", "linear", "residual"]
NETWORKS: weakref.WeakSet[nn.Module] = weakref.WeakSet()
COUNTS: list[int] = []
"""Of this module: in the closure of a model's method they would be part of its identity."""


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks were alive, this one counted, whenever one was built."""
    COUNTS.clear()
    for kind in (Regions, Linear, Residual):

        def build(self: Any, built: Callable[[Any], nn.Module] = kind.build) -> nn.Module:
            network = built(self)
            NETWORKS.add(network)
            gc.collect()
            COUNTS.append(len(NETWORKS))
            return network

        monkeypatch.setattr(kind, "build", build)
    return COUNTS


@pytest.mark.slow
def test_a_grid_over_several_models_holds_one_network_at_a_time(ran: Any, alive: list[int]) -> None:
    data = [{"use": "images", "split": split, "count": 16} for split in ("tuning", "test")]
    finished = ran(models=MODELS, datasets=data, explainers=["slope", "layered"], metrics=["mass", "drop", "accuracy"])
    assert finished.complete
    assert finished.failures == 0
    assert len(alive) == 2 * len(MODELS) - 1, "each is built for the plan, and again for its tasks but for the last"
    assert set(alive) == {1}


@pytest.mark.slow
def test_what_a_config_costs_is_estimated_with_one_network_at_a_time(
    parts: Catalog, configured: Any, alive: list[int]
) -> None:
    assert len(estimates(make_plan(configured(models=MODELS), parts))) == len(MODELS)
    assert set(alive) == {1}


def test_a_single_model_is_built_once(ran: Any, alive: list[int]) -> None:
    ran()
    assert alive == [1]


def test_equal_models_share_one_network() -> None:
    free()
    first = resident(Regions())
    assert resident(Regions()) is first
    assert first.weights_digest == Regions().weights_digest
    network = weakref.ref(first.network)
    resident(Linear())
    gc.collect()
    assert network() is None
    free()
