"""What cannot be explained: one sentence where nothing can run, a row with a reason where one case cannot.

A map of zeros is never silent: its row says so.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import DataError, ModelError
from heatproof.explainer import Explainer
from heatproof.hooks import hookimpl
from heatproof.records import Annotation, Sample
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement, discover
from heatproof.results.parquet import read_table
from heatproof.results.store import Run
from heatproof.testing.toys import GRID, Blobs, Residual
from heatproof_backprop.guided_backprop import GuidedBackprop

pytestmark = pytest.mark.slow

KINDS = ("baseline", "backprop", "cam", "clear", "ecs", "gradient", "iterative", "lrp", "perturbation", "smoothgrad")
LAYERED = ("gradcam", "gradcam_plus_plus", "guided_gradcam", "respond_cam")
SIDES = {"left": 1.0, "right": 1.0}
METHODS = (
    "gradient", "input_x_gradient", {"use": "integrated_gradients", "steps": 4}, "deeplift", "guided_backprop",
    "deconvnet", {"use": "smoothgrad", "samples": 2}, {"use": "smoothgrad_squared", "samples": 2},
    {"use": "vargrad", "samples": 2}, "lrp", "cam", "gradcam", "gradcam_plus_plus", "guided_gradcam", "respond_cam",
    {"use": "occlusion", "patch": 4, "stride": 4}, {"use": "lime", "samples": 20}, "clear",
    "ablationcam", "eigencam", "scorecam", {"use": "gradient_shap", "samples": 2}, {"use": "rise", "samples": 20},
    {"use": "kernel_shap", "segmentation": "grid", "cell": 8},
)  # fmt: skip
ODD = ("nan", "infinite", "black", "grey")
Runs = Callable[..., Any]


class Odd(Residual):
    """A model whose prepared images are odd, one after the other as ``ODD`` says."""

    def prepare(self, sample: Sample) -> Sample:
        image = super().prepare(sample).image.copy()
        match ODD[int(sample.id[-1]) % len(ODD)]:
            case "nan":
                image[0, 3, 4] = np.nan
            case "infinite":
                image[0, 3, 4] = np.inf
            case "black":
                image[:] = 0
            case "grey":
                image[:] = 0.5
        return replace(super().prepare(sample), image=image)


class Graded(Residual):
    """One logit, which is read as a grade: its target needs no prediction."""

    classes = ("none", "mild", "severe")
    head = "ordinal"

    def build(self) -> nn.Module:
        network: Any = super().build()
        network.head = nn.Linear(8, 1)
        nn.init.constant_(network.head.weight, 1.0)
        nn.init.constant_(network.head.bias, 1.0)
        return network


class OddGraded(Odd, Graded):
    """An odd model with graded output."""


class Masks(Residual):
    """A model whose only output is a mask."""

    def build(self) -> nn.Module:
        """Two convolutions."""
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))


class Branching(nn.Module):
    """Control flow on values, which cannot be traced."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        if logits.sum() > 0:
            return logits
        return logits * 1


class Closed(Residual):
    """A model that cannot be traced: its layers cannot be observed."""

    def build(self) -> nn.Module:
        return Branching(super().build())


class Coupled(Residual):
    """A model that subtracts the mean of the batch."""

    def build(self) -> nn.Module:
        return Centred(super().build())


class Centred(nn.Module):
    """Subtracts the mean of the batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images - images.mean(0))
        return logits


class Random(Centred):
    """Draws anew in each forward."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(nn.functional.dropout(images))
        return logits


class Undecided(Residual):
    """A model with dropout in evaluation mode."""

    def build(self) -> nn.Module:
        return Random(super().build())


class Everywhere(Blobs):
    """Images whose masks cover everything."""

    def load(self, id: str) -> Sample:
        sample = super().load(id)
        everywhere = np.ones(sample.space, np.float32)
        return replace(
            sample, annotations=tuple(Annotation(annotation.finding, everywhere) for annotation in sample.annotations)
        )


class OddPlugin:
    """Registers these parts."""

    @staticmethod
    @hookimpl
    def heatproof_models() -> Mapping[str, str]:
        return {name.lower(): f"heatproof_parts:{name}" for name in (
            "Odd", "Graded", "OddGraded", "Closed", "Coupled", "Undecided",
        )}  # fmt: skip

    @staticmethod
    @hookimpl
    def heatproof_datasets() -> Mapping[str, str]:
        return {"everywhere": "heatproof_parts:Everywhere"}


@pytest.fixture(scope="module")
def catalog() -> Iterator[Catalog]:
    """All explainers, the parts, and those of this module."""
    plugins = [plugin for plugin in discover()[0] if plugin.target.removeprefix("heatproof_") in KINDS]
    parts = [
        Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0"),
        Announcement("odd", "heatproof_parts:odd", "heatproof-odd", "1.0"),
    ]
    with pytest.MonkeyPatch.context() as patched:
        for part in (Odd, Graded, OddGraded, Closed, Coupled, Undecided, Everywhere):
            patched.setattr(f"heatproof_parts.{part.__name__}", part, raising=False)
        patched.setattr("heatproof_parts.odd", OddPlugin, raising=False)
        yield Catalog([*plugins, *parts])


@pytest.fixture
def runs(command: Any, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """``heatproof run`` of a config over four test images of the residual toy."""
    monkeypatch.setattr("heatproof.registry.catalog.default", lambda: catalog)

    def start(verb: str = "run", *words: str, **settings: Any) -> Any:
        usual = {
            "output": "run", "datasets": [{"use": "images", "split": "test", "count": 8}], "models": ["residual"],
            "explainers": ["gradient"], "metrics": [{"use": "ecs", "weights": SIDES}], "chunk": 4, "rows": 4,
            "threads": 1, "device": "cpu", "statistics": {"resamples": 50, "permutations": 50},
            "report": {"examples": 0},
        }  # fmt: skip
        (tmp_path / "config.yaml").write_text(json.dumps({**usual, **settings}))
        return command(verb, tmp_path / "config.yaml", *words)

    return start


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """The rows of the score table with these values."""

    def read(**values: Any) -> list[dict[str, Any]]:
        table = read_table(tmp_path / "run/scores.parquet")
        records = [dict(zip(table, row_values)) for row_values in zip(*table.values())]
        records = [row | {"notes": json.loads(row["notes"])} for row in records]
        return [row for row in records if all(row[name] == value for name, value in values.items())]

    return read


@pytest.fixture
def method(catalog: Catalog) -> Callable[[Any], Explainer]:
    """Build an explainer from an entry of a config."""

    def build(entry: Any) -> Explainer:
        if isinstance(entry, str):
            return catalog.create("explainer", entry, {})
        settings = dict(entry)
        return catalog.create("explainer", settings.pop("use"), settings)

    return build


def refused(result: Any) -> str:
    """The last line of the error output."""
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    sentence: str = result.stderr.splitlines()[-1]
    assert sentence.startswith("Error: ")
    return sentence


def named(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    return entry["use"]


def batch(explainer: Explainer, model: Any = None, images: Tensor | None = None, **changes: Any) -> Batch:
    """Two images for one explainer."""
    model = model or Residual()
    if images is None:
        images = torch.stack([torch.from_numpy(sample.image) for sample in model.samples(2)])
    settings = {"layers": explainer.layers(model), "requests": explainer.requests(model), "targets": [0, 1], **changes}
    return Batch(model, ["a", "b"], images, **settings)


# layers


@pytest.mark.parametrize("name", LAYERED)
def test_a_layer_that_does_not_exist(name: str, runs: Runs, method: Any) -> None:
    sentence = refused(runs("plan", explainers=[{"use": name, "layer": "sten"}]))
    assert "residual has no layer 'sten'; did you mean 'stem'" in sentence
    with pytest.raises(ModelError, match="Residual has no layer 'sten'; did you mean 'stem'"):
        batch(method({"use": name, "layer": "sten"}))


@pytest.mark.parametrize("outer", [{"use": "smoothgrad", "samples": 2}, "vargrad"])
def test_a_layer_that_does_not_exist_under_another_explainer(outer: Any, runs: Runs) -> None:
    entry = {"use": outer} if isinstance(outer, str) else outer
    sentence = refused(runs("plan", explainers=[entry | {"base": {"use": "gradcam", "layer": "sten"}}]))
    assert "residual has no layer 'sten'; did you mean 'stem'" in sentence


def test_a_layer_that_no_name_is_near_to(runs: Runs) -> None:
    sentence = refused(runs("plan", explainers=[{"use": "gradcam", "layer": "features.28"}]))
    assert "residual has no layer 'features.28'; allowed: add, block, " in sentence


def test_the_other_explainers_run_and_the_skipped_one_is_named(runs: Runs, rows: Any) -> None:
    result = runs(explainers=["gradient", {"use": "gradcam", "layer": "sten"}])
    assert result.exit_code == 0, result.output
    assert "skipped: gradcam(layer=sten) on residual (images): residual has no layer 'sten'" in result.stdout
    assert {row["explainer"] for row in rows()} == {"gradient", "random"}


# targets

TARGETS = {
    "above": (
        3,
        "residual has no class 3; give 'predicted', 'label', an index below 3 or a class (allowed: left",
    ),
    "below": (-1, "targets.0: should be greater than or equal to 0"),
    "no index": (1.5, "targets.0: should be an integer or should be text (seen: 1.5)"),
    "no class": (
        "lfet",
        "residual has no class 'lfet'; give 'predicted', 'label', an index below 3 or a class (did you mean 'left'?)",
    ),
}


@pytest.mark.parametrize(("target", "message"), TARGETS.values(), ids=TARGETS)
def test_a_target_outside_the_classes(target: Any, message: str, runs: Runs) -> None:
    assert message in refused(runs("plan", targets=[target]))


@pytest.mark.parametrize("target", [3, -1])
@pytest.mark.parametrize("entry", METHODS, ids=named)
def test_every_method_refuses_a_target_outside_the_classes(entry: Any, target: int, method: Any) -> None:
    explainer = method(entry)
    if "targetless" in explainer.traits:
        pytest.skip("it explains all classes")
    with pytest.raises(ModelError, match=f"target {target} is outside the 3 classes of Residual"):
        explainer(batch(explainer, targets=[0, target]))


def test_a_label_outside_the_classes_fails_its_case_only(runs: Runs, rows: Any) -> None:
    dataset = {"use": "images", "split": "test", "count": 8, "labels": {"blob-004": 7, "blob-005": None}}
    assert runs(datasets=[dataset], targets=["label"]).exit_code == 0
    outcomes = {row["case"]: (row["status"], row["reason"]) for row in rows(explainer="gradient", measure="combined")}
    assert outcomes == {
        "blob-004": ("failed", "label 7 is outside the 2 classes of images"),
        "blob-005": ("excluded", "the sample has no single label to explain"),
        "blob-006": ("valid", ""),
        "blob-007": ("valid", ""),
    }


@pytest.mark.parametrize("entry", METHODS, ids=named)
def test_an_output_that_is_a_mask_is_not_explained(entry: Any, method: Any) -> None:
    """A mask of one channel is no logit: its pixels must not be summed silently."""
    explainer = method(entry)
    model = Masks()
    if explainer.verdict(model).level == "undefined":
        pytest.skip(explainer.verdict(model).reason)
    with pytest.raises(ModelError, match=r"Masks gives logits per pixel, of shape \(\d, 1, 16, 16\)"):
        explainer(batch(explainer, model))


# models


UNTRACED = "cannot be traced (symbolically traced variables cannot be used as inputs to control flow)"


@pytest.mark.parametrize("name", ["guided_gradcam", "cam", "guided_backprop", "deconvnet", "clear", "deeplift", "lrp"])
def test_a_model_without_the_capability(name: str, runs: Runs, method: Any) -> None:
    sentence = refused(runs("plan", models=["closed"], explainers=[name]))
    assert UNTRACED in sentence
    explainer = method(name)
    closed = Closed()
    with pytest.raises(ModelError, match="cannot be traced"):
        explainer(Batch(closed, ["a"], torch.rand(1, 3, GRID, GRID), [0]))


def test_what_changes_no_rule_still_runs(runs: Runs, rows: Any, tmp_path: Path) -> None:
    explainers = ["gradient", {"use": "occlusion", "patch": 4, "stride": 4}, "gradcam", "lrp"]
    result = runs(models=["closed"], explainers=explainers)
    assert result.exit_code == 0, result.output
    assert "skipped: lrp" in result.stdout
    assert {row["status"] for row in rows()} == {"valid"}
    assert len({row["explainer"] for row in rows()}) == 4
    (log,) = tmp_path.rglob("log.txt")
    notice = f"closed runs without a faster copy and without methods that change the rules of layers: {UNTRACED[18:-1]}"
    assert log.read_text().count(notice) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("coupled", "the network couples the images of a batch"), ("undecided", "the network is not deterministic")],
)
def test_a_network_whose_outputs_depend_on_more_than_the_image(name: str, message: str, runs: Runs) -> None:
    assert message in refused(runs("plan", models=[name], explainers=["gradient"]))


def test_a_network_without_convolutions_has_no_layer(runs: Runs) -> None:
    sentence = refused(runs("plan", models=["linear"], explainers=["gradcam"]))
    assert "linear has no last layer: nothing that it computes on the way to the output lies on a grid" in sentence


# dimensions


VOLUMES = {"use": "images", "split": "test", "count": 8, "dimensions": 3, "size": 32}


def test_volumes_in_a_method_for_images(runs: Runs, rows: Any) -> None:
    settings = {"datasets": [VOLUMES], "models": [{"use": "residual", "dimensions": 3}]}
    result = runs(**settings, explainers=["lime", "gradient"], metrics=["mass"])
    assert result.exit_code == 0, result.output
    assert "explains 2-D images; those of images as residual prepares them have 3 dimensions" in result.stdout
    assert {row["status"] for row in rows(explainer="gradient")} == {"valid"}
    assert not rows(explainer="lime")


@pytest.mark.parametrize("name", ["lime", "iterative"])
def test_methods_for_images_refuse_volumes(name: str, method: Any) -> None:
    explainer = method(name)
    model = Residual(dimensions=3)
    with pytest.raises(ModelError, match="explains 2-D images; these have 3 dimensions"):
        explainer(Batch(model, ["a"], torch.rand(1, 3, 8, 8, 8), [0]))


def test_a_patch_that_is_larger_than_the_image(runs: Runs, rows: Any) -> None:
    result = runs(explainers=[{"use": "occlusion", "patch": 17}])
    assert result.exit_code == 1
    assert "nothing is valid: " in result.stderr
    outcomes = {(row["status"], row["reason"]) for row in rows() if row["explainer"] != "random"}
    assert len(outcomes) == 1
    status, reason = outcomes.pop()
    assert status == "failed"
    assert "17 pixels is larger than the image" in reason
    assert "make it" in reason


# images


@pytest.mark.parametrize(("model", "targets"), [("odd", ["left"]), ("oddgraded", ["predicted"])])
def test_odd_images(model: str, targets: list[str], runs: Runs, rows: Any, tmp_path: Path) -> None:
    """Each row has a reason or a heatmap; zeros are noted. The target is fixed: it needs no logits."""
    explainers = [entry for entry in METHODS if named(entry) != "cam" or model == "odd"]
    result = runs(models=[model], targets=targets, explainers=explainers)
    assert result.exit_code == 0, result.output
    scores = [row for row in rows(measure="combined") if row["explainer"] != "random"]
    store = Run(tmp_path / "run")
    assert len(scores) == len(ODD) * len(explainers)
    for row in scores:
        kind = ODD[int(row["case"][-1]) % len(ODD)]
        key = row["heatmap"].split("/")[1]
        values = store.maps(key, int(row["row"]))
        if kind in ("nan", "infinite"):
            assert (row["status"], row["reason"]) == ("invalid", "the logits are not finite")
            assert np.isnan(values).all()
        else:
            assert (row["status"], row["reason"]) == ("valid", "")
            assert np.isfinite(values).all()
            silent = row["notes"].get("degenerate", 0.0) == 1.0
            assert silent or values.any(), row
            assert not silent or np.abs(values).max() < 1e-20, row
    noted = {row["explainer"].partition("(")[0] for row in scores if row["notes"].get("degenerate") == 1.0}
    assert noted >= {"vargrad", "input_x_gradient", "integrated_gradients", "deeplift", "lrp", "lime"}


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("entry", METHODS, ids=named)
def test_every_method_refuses_an_image_that_is_not_finite(entry: Any, value: float, method: Any) -> None:
    """Guided backpropagation, for example, turns NaN into zeros: none of its activations is positive."""
    explainer = method(entry)
    images = batch(explainer)
    images.images[1, 0, 3, 4] = value
    with pytest.raises(DataError, match="the image of b holds values that are not finite; repair it, or leave it out"):
        explainer(images)


def test_guided_backpropagation_would_make_zeros_of_nan() -> None:
    explainer = GuidedBackprop()
    images = batch(explainer, images=torch.full((2, 3, GRID, GRID), torch.nan))
    assert not explainer.explain(images).any()


# masks


def test_masks_that_cover_everything_give_the_score_of_chance(runs: Runs, rows: Any) -> None:
    """All cells have the same lesion mass: the top ones are tied, and any heatmap reaches top / grid²."""
    result = runs(datasets=[{"use": "everywhere", "split": "test"}], explainers=["gradient", "gradcam"])
    assert result.exit_code == 0, result.output
    assert {row["status"] for row in rows()} == {"valid"}
    assert {row["measure"] for row in rows()} == {"combined", "left", "right"}
    assert [row["value"] for row in rows()] == pytest.approx([0.15] * len(rows()), rel=1e-9)


def test_a_refinement_whose_mask_covers_everything_is_excluded(runs: Runs, rows: Any) -> None:
    usual = {"use": "iterative", "max_iter": 2}
    all_of_it = {"use": "iterative", "share": 1.0, "dilation": 16}
    assert runs(models=["heatproof-odd/graded"], explainers=[usual, all_of_it]).exit_code == 0
    for row in rows(measure="combined"):
        if "share=1.0" in row["explainer"]:
            assert row["status"] == "excluded"
            assert "the mask covers the whole field, so no pixel is left to fill it in from" in row["reason"]
        else:
            assert row["status"] == "valid"
