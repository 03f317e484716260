"""Segmentation networks: their targets in configs and plans, runs with a report, and the maps of other libraries."""

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import SemanticSegmentationTarget
from torch import Tensor, nn
from zennit.attribution import Gradient as ZennitGradient
from zennit.composites import EpsilonPlus

from heatproof.batch import Batch
from heatproof.config.settings import RunConfig, from_plain, resolved
from heatproof.errors import ConfigError, ModelError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.plan.plan import Plan, make_plan
from heatproof.records import Sample
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement, discover
from heatproof.results.parquet import read_table
from heatproof.results.store import Run
from heatproof.run.runner import run
from heatproof.testing.bench import in_float64
from heatproof.testing.toys import drawn
from heatproof_cam.ablationcam import AblationCam
from heatproof_cam.gradcam import GradCam
from heatproof_cam.scorecam import ScoreCam
from heatproof_gradient.gradient import Gradient
from heatproof_gradient.input_x_gradient import InputXGradient as ImageTimesGradient
from heatproof_gradient.integrated_gradients import IntegratedGradients
from heatproof_lrp.lrp import Lrp
from heatproof_perturbation.occlusion import Occlusion
from heatproof_phantom.phantom import Phantom
from heatproof_segmenting import SIZE, Segmenting

PLUGINS = ("phantom", "gradient", "cam", "faithfulness", "localization", "auc")
MASK = {"class": "haemorrhages", "region": "mask"}
PREDICTED = {"class": "haemorrhages", "region": "predicted"}
NEVER = {"class": "soft_exudates", "region": "predicted"}
Rows = list[dict[str, Any]]


def catalog_of(*plugins: str) -> Catalog:
    """The segmentation networks with these plugins of the workspace."""
    targets = {f"heatproof_{name}" for name in plugins}
    known = [plugin for plugin in discover()[0] if plugin.target.partition(".")[0] in targets]
    return Catalog([*known, Announcement("segmenting", "heatproof_segmenting", "heatproof-segmenting", "1")])


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return catalog_of(*PLUGINS)


def settings(output: Path, **changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "output": str(output), "datasets": [{"use": "phantom", "patients": 2, "height": 64}], "models": ["segmenting"],
        "targets": [MASK], "explainers": ["gradient"], "device": "cpu", "threads": 1, "cache": False,
        "statistics": {"resamples": 20, "permutations": 20},
    }  # fmt: skip
    return usual | changes


def planned(catalog: Catalog, tmp_path: Path, **changes: Any) -> Plan:
    return make_plan(from_plain(settings(tmp_path / "run", **changes), catalog), catalog)


def test_a_target_is_written_as_it_is_read(catalog: Catalog, tmp_path: Path) -> None:
    targets: list[Any] = [MASK, "predicted", 1, {"class": 1, "region": "predicted"}]
    row = {"dataset": "phantom", "model": "segmenting", "explainer": "gradient", "target": MASK}
    config: RunConfig = from_plain(settings(tmp_path / "run", targets=targets, combinations=[row]), catalog)
    written = resolved(config)
    assert (written["targets"], written["combinations"][0]["target"]) == (targets, MASK)
    assert resolved(from_plain(json.loads(json.dumps(written)), catalog)) == written


@pytest.mark.parametrize(("target", "message"), [
    ({"class": "x", "region": "box"}, r"targets\.0\.region: should be 'mask' or 'predicted' \(seen: 'box'\)"),
    ({"class": "x"}, r"targets\.0\.region: is missing"),
    ({"region": "mask"}, r"targets\.0\.class: is missing"),
    ({"class": "x", "region": "mask", "clas": 1}, r"targets\.0\.clas: unknown name.*did you mean 'class'"),
])  # fmt: skip
def test_a_mistake_in_a_target_is_a_sentence(catalog: Catalog, tmp_path: Path, target: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        from_plain(settings(tmp_path / "run", targets=[target]), catalog)
    assert len(str(error.value).splitlines()) == 1


def test_another_region_or_class_is_another_unit(catalog: Catalog, tmp_path: Path) -> None:
    plan = planned(catalog, tmp_path, targets=[MASK, PREDICTED, NEVER, {"class": 1, "region": "mask"}])
    assert [item.target for item in plan.combinations] == [
        "haemorrhages (region: mask)", "haemorrhages (region: predicted)", "soft_exudates (region: predicted)"
    ]  # fmt: skip
    (task,) = plan.tasks({})
    assert len({unit.key for unit in task.units}) == 3


@pytest.mark.parametrize(("changes", "reason"), [
    ({"targets": ["predicted"]}, r"segmenting gives logits per pixel, so a target needs a class and a region: \{class"),
    ({"models": ["deciding"]}, r"deciding gives one logit per class.*no region: mask; give the class alone.*targets"),
    ({"targets": [MASK | {"class": "background"}]}, "phantom does not annotate 'background'.*no region: mask"),
    ({"targets": [MASK | {"class": "drusen"}]}, "segmenting has no class 'drusen'"),
    ({"explainers": ["gradcam"]}, r"pools no grid \(its coarsest one is that of 'bottleneck.1'\); name a layer"),
])  # fmt: skip
def test_what_cannot_be_explained_is_refused_with_the_reason(
    catalog: Catalog, tmp_path: Path, changes: Mapping[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        planned(catalog, tmp_path, **changes)


@pytest.fixture(scope="module")
def finished(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmentation") / "run"
    metrics = [
        "pointing", "auc", {"use": "deletion", "steps": 2, "of": "logit"}, {"use": "insertion", "steps": 1},
        {"use": "road", "percentages": [50], "of": "logit"},
    ]  # fmt: skip
    models = ["segmenting", {"use": "segmenting", "grid": 16, "named": True}]
    changed = settings(folder, models=models, targets=[NEVER, MASK, PREDICTED], metrics=metrics, rows=3)
    return Path(run(from_plain(changed, catalog), catalog).folder)


def rows_of(folder: Path, **columns: str) -> Rows:
    table = read_table(folder / "scores.parquet")
    rows = (dict(zip(table, values)) for values in zip(*table.values()))
    return [row for row in rows if all(row[name] == value for name, value in columns.items())]


@cache
def prepared(id: str) -> Sample:
    return Segmenting().prepare(Phantom(patients=2, height=64).load(id))


def mask_of(id: str, grid: int) -> Tensor:
    """The mask of a case on the grid of the logits, by plain blocks."""
    mask = prepared(id).mask("haemorrhages")
    assert mask is not None
    cells = SIZE // grid
    return torch.from_numpy(mask.reshape(grid, cells, grid, cells).mean((1, 3)))


def without_pixels(image: Tensor, field: Tensor) -> Tensor:
    """The image whose pixels in the field have their mean colour."""
    blank = image.detach().clone()
    blank[:, :, field] = blank[:, :, field].mean(2, keepdim=True)
    return blank


@pytest.mark.slow
@pytest.mark.parametrize("grid", [32, 16])
@pytest.mark.parametrize("region", ["mask", "predicted"])
def test_a_run_explains_the_sum_over_the_region(finished: Path, grid: int, region: str) -> None:
    target = f"haemorrhages (region: {region})"
    rows = rows_of(finished, target=target, explainer="gradient", metric="deletion", measure="curve", status="valid")
    rows = [row for row in rows if json.loads(row["settings"])["model"]["grid"] == grid]
    assert rows
    network = Segmenting(grid=grid).network
    for row in rows:
        sample = prepared(row["case"])
        image = torch.from_numpy(sample.image)[None].requires_grad_()
        maps = network(image)
        weights = mask_of(row["case"], grid) if region == "mask" else (maps.argmax(1)[0] == 1).float()
        score = (maps[0, 1] * weights).sum()
        expected = torch.autograd.grad(score, image)[0][0].amax(0).numpy()
        stored = (Path(row["heatmap"]).parent.name, int(row["row"]))
        np.testing.assert_allclose(Run(finished).kept(*stored)["region"], weights, rtol=1e-6)
        np.testing.assert_allclose(Run(finished).maps(*stored), expected, atol=1e-5 * np.abs(expected).max())
        notes = json.loads(row["notes"])
        assert notes["region_score"] == pytest.approx(float(score.detach()), rel=1e-4)
        assert notes["region_pixels"] == pytest.approx(float(weights.sum()), rel=1e-5)
        # Deletion ends without any pixel of the field, and still sums over the region of the whole image.
        removed = network(without_pixels(image, torch.from_numpy(sample.field)))
        last = float((removed[0, 1] * weights).sum().detach())
        assert row["array"][[0, -1]] == pytest.approx([notes["region_score"], last], rel=1e-4)


@pytest.mark.slow
def test_cases_without_a_region_are_invalid_and_say_why(finished: Path) -> None:
    never = rows_of(finished, target="soft_exudates (region: predicted)", metric="pointing")
    assert {(row["status"], row["reason"]) for row in never} == {
        ("invalid", "'soft_exudates' is predicted at no pixel, so there is no region: predicted")
    }  # fmt: skip
    masked = rows_of(finished, target="haemorrhages (region: mask)", metric="pointing", measure="combined")
    empty = [row for row in masked if not mask_of(row["case"], 32).any()]
    assert 0 < len(empty) < len(masked)
    assert {(row["status"], row["reason"]) for row in empty} == {
        ("invalid", "the annotation of 'haemorrhages' is empty on the model's grid, so there is no region: mask")
    }  # fmt: skip
    assert all(row["value"] is None or np.isnan(row["value"]) for row in (*never, *empty))


@pytest.mark.slow
def test_chance_has_the_cases_of_all_targets(finished: Path) -> None:
    """A random heatmap is the same for every target, and the first of these has no region on any image."""
    rows = rows_of(finished, explainer="random", metric="pointing", measure="combined", model="")
    counts = Counter(row["status"] for row in rows)
    assert len({(row["case"], row["settings"]) for row in rows}) == len(rows)
    assert counts["valid"]
    assert not counts["invalid"]


@pytest.mark.slow
def test_what_needs_a_decision_or_a_probability_is_excluded(finished: Path) -> None:
    target = "haemorrhages (region: predicted)"
    (reason,) = {row["reason"] for row in rows_of(finished, metric="auc")}
    assert reason == "segmenting gives logits per pixel and decides on no class of the image"
    rows = rows_of(finished, target=target, metric="insertion", status="excluded")
    assert {row["reason"] for row in rows} == {"a sum of logits over a region has no probability; set of: logit"}
    assert not rows_of(finished, target=target, metric="insertion", status="valid")
    decided = rows_of(finished, target=target, metric="road", measure="morf_same")
    assert {row["status"] for row in decided} == {"excluded"}
    assert {row["status"] for row in rows_of(finished, target=target, metric="road", measure="value")} == {"valid"}


@pytest.mark.slow
def test_the_page_says_what_is_explained(tmp_path: Path) -> None:
    catalog = catalog_of("phantom", "gradient", "localization", "report")
    changed = settings(
        tmp_path / "run", targets=[PREDICTED], metrics=["pointing"], report={"examples": 1}, cache=str(tmp_path)
    )
    page = (run(from_plain(changed, catalog), catalog).folder / "report.html").read_text(encoding="utf-8")
    assert "gradient × haemorrhages (region: predicted)" in page
    assert "explain the sum of the logits of the class over the region" in page


EXPLAINERS = [
    Gradient(), IntegratedGradients(steps=3), GradCam(layer="bottleneck.1"), Lrp(), Occlusion(patch=6, stride=5),
    AblationCam(layer="bottleneck.1"), ScoreCam(layer="bottleneck.1"),
]  # fmt: skip


def regional(network: nn.Module, explainer: Explainer, **changes: Any) -> Batch:
    """Two images in float64 with the second class as the target, and a region that differs between them."""
    model = in_float64(Model.of(network.eval(), "abc"))
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    region = torch.zeros(2, 16, 16, dtype=torch.float64)
    region[0, 3:9, 4:12] = 1
    region[1, 8:, :5] = 1
    layers = explainer.layers(model)
    return Batch(model, "ab", images, [1, 2], **{"region": region, "layers": layers, **changes})


def plain() -> nn.Module:
    """A network of convolutions without biases: its scores are the sum of image times gradient."""
    layers = [nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(5, 3, 3, padding=1, bias=False)]
    return drawn(nn.Sequential(*layers), 0)


def unet() -> nn.Module:
    network: nn.Module = Segmenting().build()
    return network


def summed(batch: Batch) -> Any:
    """The sum over the region as a plain function of images, for libraries that explain logits (n, class)."""
    return lambda images: (batch.model.network(images) * batch.region[:, None]).sum((2, 3))


def test_captum_agrees_on_the_sum() -> None:
    batch = regional(unet(), Gradient())
    function = summed(batch)
    expected = InputXGradient(function).attribute(batch.images.clone(), target=batch.targets)
    torch.testing.assert_close(ImageTimesGradient()(batch).values, expected, rtol=0, atol=1e-10)
    explainer = IntegratedGradients(steps=9)
    paths = []
    for single in batch.singles():
        path = CaptumIntegratedGradients(summed(single))
        paths.append(path.attribute(single.images, target=single.targets, n_steps=9, method="riemann_middle"))
    # Captum's steps are in float32.
    torch.testing.assert_close(explainer(batch).values, torch.cat(paths), rtol=1e-6, atol=1e-6)


def test_pytorch_grad_cam_agrees_on_the_sum() -> None:
    explainer = GradCam(layer="encoder")
    batch = regional(unet(), explainer)
    values = explainer(batch).values[:, 0]
    network = batch.model.network
    pairs = zip(batch.targets.tolist(), batch.region.numpy())
    targets = [SemanticSegmentationTarget(*pair) for pair in pairs]
    with GradCAM(network, [network.encoder]) as other:
        expected = other(batch.images.clone(), targets)
    ours = values.clamp_min(0)
    ours = (ours - ours.amin((1, 2), keepdim=True)) / ours.amax((1, 2), keepdim=True)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_zennit_agrees_on_relevance_that_starts_as_the_region() -> None:
    explainer = Lrp(composite="epsilon_plus", epsilon=1e-6)
    batch = regional(plain(), explainer)
    values = explainer(batch).values
    start = torch.zeros(2, 3, 16, 16, dtype=torch.float64)
    for row, target in enumerate(batch.targets.tolist()):
        start[row, target] = batch.region[row]
    with ZennitGradient(batch.model.network, EpsilonPlus(epsilon=1e-6)) as attributor:
        _, expected = attributor(batch.images.clone(), start)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-9)


def test_relevance_of_the_scores_adds_up_to_the_sum() -> None:
    explainer = Lrp(preset="z", start="score")
    batch = regional(plain(), explainer)
    explanation = explainer(batch)
    score = batch.pick(summed(batch)(batch.images)).detach()
    torch.testing.assert_close(explanation.values.flatten(1).sum(1), score, rtol=1e-6, atol=1e-8)
    assert explanation.notes["relevance_share"] == pytest.approx([1, 1], abs=1e-6)


@pytest.mark.parametrize("explainer", EXPLAINERS, ids=lambda explainer: explainer.short)
def test_no_map_is_given_without_a_region(explainer: Explainer) -> None:
    with pytest.raises(ModelError, match=r"gives logits per pixel, of shape .*a target needs a class and a region"):
        explainer(regional(unet(), explainer, region=None))


@pytest.mark.parametrize("explainer", EXPLAINERS, ids=lambda explainer: explainer.short)
def test_maps_do_not_depend_on_the_batch(explainer: Explainer) -> None:
    batch = regional(unet(), explainer)
    together = explainer(batch).values
    alone = torch.cat([explainer(single).values for single in batch.singles()])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)
    torch.testing.assert_close(together, explainer(regional(unet(), explainer, rows=1)).values, rtol=0, atol=1e-10)


def test_occlusion_sums_the_logits_of_full_forwards() -> None:
    explainer = Occlusion(patch=8, stride=8)
    batch = regional(unet(), explainer)
    function = summed(batch)
    clean = batch.pick(function(batch.images))
    expected = torch.zeros(2, 16, 16, dtype=torch.float64)
    for top in (0, 8):
        for left in (0, 8):
            images = batch.images.clone()
            images[:, :, top : top + 8, left : left + 8] = 0
            expected[:, top : top + 8, left : left + 8] = (clean - batch.pick(function(images)))[:, None, None].detach()
    torch.testing.assert_close(explainer(batch).values[:, 0], expected, rtol=0, atol=1e-10)
