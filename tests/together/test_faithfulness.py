"""Metrics of faithfulness, robustness and randomization in runs: passes, estimates, and undefined cases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heatproof.batch import Batch
from heatproof.config.settings import from_plain
from heatproof.plan.plan import make_plan
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.parquet import read_table
from heatproof.run.runner import run
from heatproof.testing.toys import Regions
from heatproof_costs.estimate import estimates
from heatproof_parts import Images

METRICS = [
    {"use": "deletion", "steps": 7}, {"use": "insertion", "steps": 6}, {"use": "pixel_flipping", "patch": 4},
    {"use": "road", "percentages": [20, 60]}, {"use": "max_sensitivity", "samples": 3}, "model_randomization",
]  # fmt: skip
NAMES = ("deletion", "insertion", "pixel_flipping", "road", "max_sensitivity", "model_randomization")
EXPLAINERS = ["gradient", {"use": "gradcam", "layer": "all"}, {"use": "smoothgrad", "samples": 5}]
Configured = Callable[..., Any]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    announcements = [Announcement("parts", "heatproof_parts", "heatproof-parts", "1")]
    for name in ("baseline", "cam", "gradient", "smoothgrad", "faithfulness"):
        announcements.append(Announcement(name, f"heatproof_{name}", f"heatproof-{name}", "1"))
    return Catalog(announcements)


@pytest.fixture
def configured(catalog: Catalog, tmp_path: Path) -> Configured:
    def make(**settings: Any) -> Any:
        usual = {
            "output": str(tmp_path / "run"), "datasets": [{"use": "images", "split": "test", "count": 8}],
            "models": ["regions"], "explainers": EXPLAINERS, "metrics": METRICS, "rows": 3, "threads": 1,
            "device": "cpu", "statistics": {"resamples": 50, "permutations": 50},
        }  # fmt: skip
        return from_plain({**usual, **settings}, catalog)

    return make


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the images in forwards and in backwards, and the most images in one forward."""
    counts = [0, 0, 0]
    evaluate = Batch.evaluate

    def backward(gradient: torch.Tensor) -> None:
        counts[1] += len(gradient)

    def counting(batch: Batch, *arguments: Any, **settings: Any) -> Any:
        outputs, activations = evaluate(batch, *arguments, **settings)
        logits = batch.explained(outputs)
        counts[0] += len(logits)
        counts[2] = max(counts[2], len(logits))
        if logits.requires_grad:
            logits.register_hook(backward)
        return outputs, activations

    monkeypatch.setattr(Batch, "evaluate", counting)
    return counts


def rows(finished: Any, **values_by_name: str) -> list[dict[str, Any]]:
    table = read_table(finished.folder / "scores.parquet")
    records = (dict(zip(table, values)) for values in zip(*table.values()))
    return [row for row in records if all(row[name] == value for name, value in values_by_name.items())]


def estimated_passes(config: Any, catalog: Catalog) -> tuple[int, int, dict[str, tuple[int, int]]]:
    (estimate,) = estimates(make_plan(config, catalog))
    costs = estimate.metrics.values()
    total = [estimate.forwards + sum(cost[0] for cost in costs), estimate.backwards + sum(cost[1] for cost in costs)]
    return total[0], total[1], dict(estimate.metrics)


def test_a_run_takes_the_passes_it_was_priced_at(configured: Configured, catalog: Catalog, passed: list[int]) -> None:
    sets = {"use": "sensitivity_n", "percentages": [9, 60], "subsets": 3}
    config = configured(metrics=[*METRICS, {"use": "selectivity", "patch": 8}, sets])
    forwards, backwards, metrics = estimated_passes(config, catalog)
    passed[:] = [0, 0, 0]
    finished = run(config, catalog)
    assert finished.failures == 0
    assert passed == [forwards, backwards, 3]
    # Four images; gradient, gradcam of two layers, smoothgrad and random; three layers with weights.
    again = (1 + 2 + 5) * 4
    assert metrics == {
        "deletion": (7 * 5 * 4, 0), "insertion": (6 * 5 * 4, 0), "pixel_flipping": (16 * 5 * 4, 0),
        "road": (4 * 5 * 4, 0), "max_sensitivity": (3 * again, 3 * again),
        "model_randomization": (3 * again, 3 * again), "selectivity": (4 * 5 * 4, 0), "sensitivity_n": (6 * 5 * 4, 0),
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_each_metric_takes_its_own_share(
    name: str, configured: Configured, catalog: Catalog, passed: list[int]
) -> None:
    """Two metrics of one kind with different settings are estimated separately."""
    settings = {"max_sensitivity": {"samples": 2}, "model_randomization": {"stages": 2}, "road": {"percentages": [5]}}
    metric = {"use": name} | settings.get(name, {"steps": 4})
    variants = [metric]
    if name == "road":
        variants.append(metric | {"noise": 0})
    config = configured(metrics=variants, explainers=["gradient"])
    forwards, backwards, metrics = estimated_passes(config, catalog)
    passed[:] = [0, 0, 0]
    run(config, catalog)
    assert passed[:2] == [forwards, backwards]
    assert len(metrics) == len(variants)


def test_metrics_that_ask_nobody_are_not_priced(configured: Configured, catalog: Catalog) -> None:
    assert estimated_passes(configured(metrics=["mass", "accuracy"]), catalog)[2] == {}
    assert estimated_passes(configured(metrics=["mass", "drop"], explainers=["gradient"]), catalog)[2] == {
        "drop": (16, 0)
    }


def test_stored_maps_are_explained_again_as_they_were(configured: Configured, catalog: Catalog) -> None:
    """With a tiny radius heatmaps hardly change, whatever the layer and the reduction."""
    metric = {"use": "max_sensitivity", "samples": 2, "radius": 1e-7}
    finished = run(configured(metrics=[metric], reductions=["max", "l2", "sum"]), catalog)
    scores = rows(finished, measure="value")
    valid = [row for row in scores if row["status"] == "valid"]
    assert len(valid) >= 4 * 3 * 3
    assert max(row["value"] for row in valid) < 1e-3
    assert {row["reason"] for row in scores if row["status"] != "valid"} <= {
        "the heatmap is zero everywhere: no change is relative to it"
    }


def test_the_deletion_of_a_run_is_that_of_plain_loops(configured: Configured, catalog: Catalog) -> None:
    finished = run(
        configured(metrics=[{"use": "deletion", "steps": 4, "baseline": 0.25}], explainers=["gradient"]), catalog
    )
    model = Regions()
    dataset = Images(count=8)
    for row in rows(finished, explainer="gradient", measure="curve"):
        image = torch.from_numpy(model.prepare(dataset.load(row["case"])).image)[None].requires_grad_()
        logits = model.network(image)
        target = int(logits.argmax())
        (gradient,) = torch.autograd.grad(logits[0, target], image)
        order = np.argsort(-gradient[0].amax(0).numpy().ravel(), kind="stable")
        heat = gradient[0].amax(0).numpy().ravel()[order]
        for step, score in enumerate(row["array"]):
            count = 64 * step
            if 0 < count < 256 and heat[count - 1] == heat[count]:
                continue  # the random order of tied pixels decides
            perturbed = image.detach().clone()
            perturbed[0].flatten(1)[:, order[:count].copy()] = 0.25
            assert score == pytest.approx(model.network(perturbed).softmax(1)[0, target].item(), abs=1e-5)


def test_maps_without_a_model_are_judged_by_its_decision(configured: Configured, catalog: Catalog) -> None:
    finished = run(configured(metrics=METRICS, explainers=["gradient", "centre"]), catalog)
    starts = {
        name: {
            row["case"]: row["array"][0] for row in rows(finished, explainer=name, metric="deletion", measure="curve")
        }
        for name in ("gradient", "random", "centre")
    }
    assert starts["gradient"] == starts["random"] == starts["centre"]
    assert min(starts["random"].values()) >= 0.5
    assert len(starts["random"]) == 4
    for name in ("random", "centre"):
        (reason,) = {
            (row["status"], row["reason"]) for row in rows(finished, explainer=name, metric="model_randomization")
        }
        assert reason == ("excluded", "the explainer does not use the model: new weights cannot change the heatmap")
        assert {row["value"] for row in rows(finished, explainer=name, metric="max_sensitivity")} == {0}


def test_chance_is_what_the_same_model_makes_of_random_maps(configured: Configured, catalog: Catalog) -> None:
    metrics = [{"use": "deletion", "steps": 4, "baseline": 0.25}, "mass"]
    config = configured(models=["regions", "linear"], explainers=["gradient"], metrics=metrics)
    table = {
        (row["metric"], row["model"], row["explainer"]): row
        for row in run(config, catalog).summary
        if row["measure"] == "value"
    }
    assert len(table) == 7  # the metric that uses no model has one random map for both
    assert table["deletion", "regions", "random"]["value"] != table["deletion", "linear", "random"]["value"]
    for (metric, model, explainer), row in table.items():
        chance = table[metric, model if metric == "deletion" else "", "random"]
        expected = row["value"] - chance["value"]
        if explainer == "random":
            expected = np.nan
        assert row["difference_to_random"] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_missing_target_excludes_the_case(configured: Configured, catalog: Catalog) -> None:
    data = [{"use": "images", "split": "test", "count": 8, "labels": {"blob-004": None}}]
    finished = run(configured(datasets=data, targets=["label"], explainers=["gradient"]), catalog)
    for name in NAMES:
        outcomes = {
            (row["status"], row["reason"]) for row in rows(finished, explainer="gradient", case="blob-004", metric=name)
        }
        assert outcomes == {("excluded", "the sample has no single label to explain")}
        others = rows(finished, explainer="gradient", case="blob-005", metric=name)
        assert {row["status"] for row in others} == {"valid"}


def test_an_image_that_the_model_cannot_read_has_a_reason(configured: Configured, catalog: Catalog) -> None:
    finished = run(
        configured(models=["blind"], datasets=[{"use": "images", "count": 4}], explainers=["gradient"]), catalog
    )
    for name in NAMES:
        outcomes = {
            (row["status"], row["reason"]) for row in rows(finished, explainer="random", case="blob-001", metric=name)
        }
        assert outcomes == {("invalid", "the logits are not finite")}
