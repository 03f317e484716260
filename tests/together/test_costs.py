"""The estimated costs of a plan against its passes, disk and memory."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from heatproof.errors import ConfigError, DataError, HeatproofError
from heatproof.plan.plan import make_plan
from heatproof.run.memory import BASE, Demand, demand_of, fitting_rows, most_rows
from heatproof.testing.toys import Regions
from heatproof_costs.estimate import estimates


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


def demand(configured: Callable[..., Any], parts: Any, **settings: Any) -> Demand:
    """The demand of the only dataset and model of a config."""
    plan = make_plan(configured(**settings), parts)
    ((source, model, combinations),) = plan.jobs()
    estimate = demand_of(plan, source, model, combinations)
    assert estimate is not None
    return estimate


def test_memory_grows_with_what_the_run_holds(
    configured: Callable[..., Any], parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the images per pass, the heatmaps of a chunk, the observed layers, what explanations keep, and workers."""
    alone = demand(configured, parts)
    assert alone.fixed >= BASE
    assert alone.total(4) - alone.total(2) == 2 * alone.image
    heatmap = 16 * 16 * 4
    doubled = demand(configured, parts, reductions=["max", "sum"])
    assert doubled.fixed - alone.fixed == 4 * heatmap  # a chunk of four images
    layered = demand(configured, parts, explainers=[{"use": "layered", "layer": "all"}])
    assert layered.image >= alone.image + 2 * (2 * 16 * 16 + 2 * 8 * 8) * 4
    assert demand(configured, parts, chunk=2).fixed < alone.fixed
    for workers in (1, 3):
        assert replace(alone, workers=workers).total(2) == workers * alone.total(2) + BASE
    monkeypatch.setattr("heatproof_parts.Mass.copies", lambda metric, model: 3)
    weights = 2 * sum(value.nbytes for value in Regions().network.state_dict().values())
    assert demand(configured, parts).fixed == alone.fixed + 3 * weights
    monkeypatch.setattr("heatproof_parts.Slope.memory", 10.0)
    assert demand(configured, parts).image > alone.image
    monkeypatch.setattr("heatproof_parts.Slope.stored", lambda explainer, image: 1000)
    assert demand(configured, parts, metrics=[]).fixed == alone.fixed + 4 * (1000 - 16 * 16 * 4)
    assert torch.is_grad_enabled()


def test_memory_is_that_of_the_images_per_pass_of_the_run(
    configured: Callable[..., Any], parts: Any, ran: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the config, those that the run has settled, or else the most that it will measure."""
    needed = demand(configured, parts)
    plan = make_plan(configured(rows="auto"), parts)
    assert (fitting_rows(plan, needed), fitting_rows(make_plan(configured(rows=3), parts), needed)) == (4, 3)
    monkeypatch.setattr("heatproof.run.batch_size.measure_rows", lambda task, device: 2)
    ran(rows="auto")
    assert fitting_rows(plan, needed) == 2


def test_a_bound_limits_the_images_per_pass_and_is_refused_where_none_fits(
    configured: Callable[..., Any], parts: Any, ran: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = demand(configured, parts)
    between = (needed.total(2) + needed.total(4)) / 2e9
    monkeypatch.setattr("heatproof.run.batch_size.seconds_of_pass", lambda model, sample, rows, device: 1.0)
    finished = ran(rows="auto", memory=f"{between!r} GB")
    (settled,) = (finished.folder / "execution").glob("rows-*/unit.json")
    assert json.loads(settled.read_text())["rows"] == 2
    least = f"{needed.total(1) / 1e9:.2f} GB"
    refused = f"images × regions takes about {least} with images per pass: 1, more than memory: 0.1 GB"
    with pytest.raises(HeatproofError, match=refused):
        ran(rows="auto", memory=0.1, output=str(finished.folder / "other"))
    assert not (finished.folder / "other").exists()
    with pytest.raises(HeatproofError, match="images per pass: 4, more than memory"):
        most_rows(make_plan(configured(rows=4, memory=between), parts))
    assert most_rows(make_plan(configured(rows=4), parts)) == {}


def test_check_and_run_refuse_a_bound_with_one_sentence(command: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"output: {tmp_path / 'run'}\ndatasets: [{{use: images, split: test, count: 8}}]\nmodels: [regions]\n"
        "explainers: [slope]\nmetrics: [mass]\ndevice: cpu\ncache: false\nmemory: 100 GB\n"
    )
    assert command("check", config).exit_code == 0
    outputs = [command(word, config, "--set", "memory=0.1") for word in ("check", "run")]
    sentences = [line for result in outputs for line in result.output.splitlines() if line.startswith("Error")]
    assert [result.exit_code for result in outputs] == [1, 1]
    assert len(sentences) == 2
    assert sentences[0] == sentences[1]
    assert "more than memory: 0.1 GB; raise it, or lower chunk" in sentences[0]


@pytest.mark.parametrize("value", [0, -1, "much", "4 MB", True, float("inf"), "nan"])
def test_a_bound_is_a_number_of_gigabytes(configured: Callable[..., Any], value: object) -> None:
    with pytest.raises(ConfigError, match="memory"):
        configured(memory=value)
    assert configured(memory="4 GB").memory == configured(memory=4).memory == 4


def test_a_first_sample_that_cannot_be_read_does_not_matter(estimated: Callable[..., Any]) -> None:
    data = {"use": "images", "split": "test", "count": 16}
    ids = [f"blob-{index:03}" for index in range(8, 16)]
    (estimate,) = estimated(datasets=[{**data, "unreadable": ids[:1]}], explainers=["slope"])
    assert estimate.samples == 8
    with pytest.raises(DataError, match=r"no sample of images can be read for regions \(tried: 8\); check its folder"):
        estimated(datasets=[{**data, "unreadable": ids}], explainers=["slope"])
