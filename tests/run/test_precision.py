"""``precision: float64`` converts the network and the images of all passes, and enters the keys of what it changes."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.config.settings import from_plain
from heatproof.errors import ConfigError
from heatproof.model import Model
from heatproof.registry.catalog import Catalog
from heatproof.results.store import Run
from heatproof.run.runner import run
from heatproof_parts import Images, Regions


def maps(finished: Any) -> dict[str, Any]:
    """The stored heatmap of every case of the explainer slope."""
    store = Run(finished.folder)
    heatmaps = {}
    for key in store.keys("heatmaps"):
        meta = store.meta("heatmaps", key)
        if meta["explainer"] == "slope":
            heatmaps |= {case["id"]: np.asarray(store.maps(key)[row]) for row, case in enumerate(meta["cases"])}
    return heatmaps


def expected(model: Model, id: str) -> Any:
    """The reduced gradient × image of the decided class in float64, as it is stored."""
    network = model.build().eval().double()
    image = torch.from_numpy(model.prepare(Images(count=16).load(id)).image)[None].double().requires_grad_()
    logits = network(image)
    (gradient,) = torch.autograd.grad(logits.max(), [image])
    return (gradient * image)[0].detach().amax(0).numpy().astype(np.float32)


def test_passes_run_in_float64_and_maps_are_stored_as_usual(ran: Callable[..., Any], tmp_path: Path) -> None:
    finished = ran(precision="float64")
    stored = maps(finished)
    assert len(stored) == 8
    for id, values in stored.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, expected(Regions(), id))
    single = maps(ran(precision="float64", rows=1, chunk=1, output=str(tmp_path / "single")))
    for id, values in stored.items():
        np.testing.assert_allclose(single[id], values, rtol=2e-7, atol=1e-12)
    assert json.loads((finished.folder / "provenance.json").read_text())["precision"] == "float64"


def test_no_unit_of_another_precision_is_used(ran: Callable[..., Any]) -> None:
    usual = ran()
    keys = {kind: Run(usual.folder).keys(kind) for kind in ("predictions", "heatmaps", "scores")}
    explicit = ran(precision="float32")
    assert {kind: Run(explicit.folder).keys(kind) for kind in keys} == keys, "the default, with the same keys"
    precise = Run(ran(precision="float64").folder)
    for kind, earlier in keys.items():
        assert len(precise.keys(kind)) == 2 * len(earlier), f"all {kind} are computed again, those of chance too"


def test_a_model_in_another_precision_is_another_model_also_in_a_worker() -> None:
    model = Regions()
    precise = model.in_precision("float64")
    assert model.in_precision("float32") is model
    assert precise.in_precision("float64") is precise
    assert precise.identity != model.identity
    assert precise.grid != model.grid
    assert (model.dtype, precise.dtype) == (torch.float32, torch.float64)
    worker = pickle.loads(pickle.dumps(precise))
    assert (worker.precision, worker.identity) == ("float64", precise.identity)
    assert next(worker.network.parameters()).dtype == torch.float64


def test_the_network_of_its_owner_keeps_its_type(configured: Callable[..., Any], parts: Catalog) -> None:
    network: nn.Module = Regions().build()
    before = [parameter.clone() for parameter in network.parameters()]
    model = Model.of(network, Regions.classes, Regions.preparation)
    config = configured(precision="float64").model_copy(update={"models": (model,)})
    assert run(config, parts).failures == 0
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_another_precision_is_refused(parts: Catalog) -> None:
    with pytest.raises(ConfigError, match=r"precision.*float32.*float64"):
        from_plain({"output": "x", "precision": "float16", "models": ["regions"]}, parts)
