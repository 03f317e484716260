"""The passes of whole runs against those that they were priced at: every explainer on several networks."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import heatproof_cam.cam
from heatproof.batch import Batch
from heatproof.config.settings import from_plain
from heatproof.plan.plan import make_plan
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.run.runner import run
from heatproof_costs.estimate import estimates

PLUGINS = (
    "backprop", "baseline", "cam", "clear", "gradient", "iterative", "lrp", "perturbation", "smoothgrad",
    "faithfulness",
)  # fmt: skip
MODELS = ("regions", "residual", "branched", "untraceable", "graded")
SMALL_STEPS = {"use": "integrated_gradients", "steps": 2}
EXPLAINERS: dict[str, list[Any]] = {
    "gradients": [
        "gradient", "input_x_gradient", "gradcam", "gradcam_plus_plus", "respond_cam", "xgradcam", "hirescam",
        "layercam",
    ],
    "rectified": ["guided_backprop", "deconvnet"],
    "guided_gradcam": ["guided_gradcam"],
    "clear": ["clear"],
    "cam": ["cam"],
    "channels of layers": ["eigencam", "scorecam", "ablationcam"],
    "integrated_gradients": [SMALL_STEPS, {"use": "gradient_shap", "samples": 2}],
    "integrated_gradients by tolerance": [{"use": "integrated_gradients", "tolerance": 0.5, "max_steps": 75}],
    "deeplift": ["deeplift"],
    "occlusion": [{"use": "occlusion", "patch": 8, "stride": 8}],
    "lime": [
        {"use": "lime", "segments": 6, "samples": 9}, {"use": "rise", "samples": 3},
        {"use": "kernel_shap", "segmentation": "grid", "cell": 8, "samples": 16},
    ],
    "iterative": [{"use": "iterative", "max_iter": 2}],
    "iterative of occlusion": [
        {"use": "iterative", "max_iter": 2, "base": {"use": "occlusion", "patch": 8, "stride": 8}},
    ],
    "smoothgrad": [{"use": name, "samples": 3} for name in ("smoothgrad", "smoothgrad_squared", "vargrad")],
    "smoothgrad by tolerance": [{"use": "smoothgrad", "tolerance": 0.5, "max_samples": 20}],
    "smoothgrad of occlusion": [
        {"use": "smoothgrad", "samples": 2, "base": {"use": "occlusion", "patch": 8, "stride": 8}},
    ],
    "smoothgrad of integrated gradients": [{"use": "smoothgrad", "samples": 2, "base": SMALL_STEPS}],
    "smoothgrad of clear": [{"use": "smoothgrad", "samples": 2, "base": "clear"}],
    "lrp": [{"use": "lrp", "preset": name} for name in ("epsilon", "z", "sequential_preset_a")],
    "lrp of one composite": [{"use": "lrp", "composite": name} for name in ("epsilon_plus", "epsilon_plus_flat")],
    "lrp with BatchNorm": [
        {"use": "lrp", "preset": name, "batch_norm": "innvestigate"}
        for name in ("sequential_preset_a", "sequential_preset_a_flat")
    ],
    "model-free": ["input_edges"],
}  # fmt: skip
"""Name → explainers of one run."""
BOUNDED = frozenset({
    "integrated_gradients by tolerance", "smoothgrad by tolerance", "occlusion", "lime", "iterative",
    "iterative of occlusion", "smoothgrad of occlusion", "clear", "channels of layers",
})  # fmt: skip
"""The names whose prices are only upper bounds: they stop early, or take parts of passes."""
METRICS: list[Any] = [
    {"use": "deletion", "steps": 3}, {"use": "insertion", "steps": 2}, {"use": "pixel_flipping", "patch": 8},
    {"use": "road", "percentages": [20]}, {"use": "max_sensitivity", "samples": 2},
    {"use": "model_randomization", "stages": 2},
]  # fmt: skip


class Passes:
    """The images of forward and of backward passes."""

    def __init__(self) -> None:
        self.forwards = self.backwards = 0

    def count(self, outputs: Tensor) -> Tensor:
        """Count the images of a forward pass, and later those of each of its backward passes."""
        self.forwards += len(outputs)
        if outputs.requires_grad:
            outputs.register_hook(self.backward)
        return outputs

    def backward(self, gradient: Tensor) -> None:
        """Count the images of a backward pass."""
        self.backwards += len(gradient)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    announcements = [Announcement(name, f"heatproof_{name}", f"heatproof-{name}", "1") for name in PLUGINS]
    return Catalog([Announcement("parts", "heatproof_parts", "heatproof-parts", "1"), *announcements])


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Count the passes of batches, and those of CAM, which end before the logits."""
    passes = Passes()
    explained = Batch.explained
    features = heatproof_cam.cam.features
    monkeypatch.setattr(Batch, "explained", lambda batch, outputs: passes.count(explained(batch, outputs)))
    monkeypatch.setattr(heatproof_cam.cam, "features", lambda *arguments: passes.count(features(*arguments)))
    return passes


@pytest.fixture
def ran(catalog: Catalog, tmp_path: Path, passed: Passes) -> Callable[..., Any]:
    """Return a function that runs a config; it returns the passes that were counted, and those that were priced."""

    def make(model: str, explainers: list[Any], metrics: list[Any]) -> tuple[list[int], list[int]]:
        config = from_plain(
            {
                "output": str(tmp_path / "run"), "datasets": [{"use": "images", "split": "test", "count": 4}],
                "models": [model], "explainers": [*explainers, "centre"], "metrics": metrics, "rows": 1, "threads": 1,
                "device": "cpu", "cache": False, "statistics": {"resamples": 2, "permutations": 2},
            },
            catalog,
        )  # fmt: skip
        (estimate,) = estimates(make_plan(config, catalog))
        priced = [estimate.forwards, estimate.backwards]
        for cost in estimate.metrics.values():
            priced = [total + part for total, part in zip(priced, cost)]
        passed.forwards = passed.backwards = 0
        run(config, catalog)
        return [passed.forwards, passed.backwards], priced

    return make


def cases() -> list[Any]:
    """Every model with every name of explainers; slow ones have few chances to differ from the others."""
    pairs = []
    for model in MODELS:
        for name in EXPLAINERS:
            quick = (model == "branched" and name != "channels of layers") or (
                model == "graded" and name.startswith("iterative")
            )
            marks = () if quick else pytest.mark.slow
            pairs.append(pytest.param(model, name, id=f"{model}, {name}", marks=marks))
    return pairs


@pytest.mark.parametrize(("model", "name"), cases())
def test_passes_of_heatmaps_are_those_of_the_price(ran: Callable[..., Any], model: str, name: str) -> None:
    counted, priced = ran(model, EXPLAINERS[name], [])
    require_price(name, counted, priced)


def two_models_of_each() -> list[Any]:
    """Every name of explainers with the first model and, in turn, one of the others."""
    first, *others = MODELS
    pairs = [(model, name) for name, other in zip(EXPLAINERS, cycle(others)) for model in (first, other)]
    return [pytest.param(*pair, id=", ".join(pair)) for pair in pairs]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "name"), two_models_of_each())
def test_passes_of_metrics_are_those_of_the_price(ran: Callable[..., Any], model: str, name: str) -> None:
    counted, priced = ran(model, EXPLAINERS[name], METRICS)
    require_price(name, counted, priced)


def require_price(name: str, counted: list[int], priced: list[int]) -> None:
    """Require at most the priced passes, and exactly these where the price is no upper bound."""
    assert counted[0] <= priced[0], (counted, priced)
    assert counted[1] <= priced[1], (counted, priced)
    if name not in BOUNDED:
        assert counted == priced
