"""``heatproof.compare`` and ``heatproof.explain``: values, tables, cases, and runs that are resumed."""

import gc
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import heatproof
from heatproof.api.compare import TEMPORARY, entries
from heatproof.errors import HeatproofError
from heatproof.explainer import Explainer
from heatproof.imaging.transforms import Resize
from heatproof.model import Model

RNG = np.random.default_rng(1)
IMAGES = RNG.random((5, 3, 12, 12)).astype(np.float32)
MASKS = np.zeros((5, 12, 12), dtype=bool)
MASKS[:, 2:6, 3:9] = True


class Net(nn.Module):
    """A network of one convolution."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.linear = nn.Linear(4, 3)

    def forward(self, images):
        return self.linear(torch.relu(self.convolution(images)).mean((2, 3)))


class Bright(Explainer):
    """The brightness of the image."""

    def explain(self, batch):
        return batch.images


@pytest.fixture(scope="module")
def network():
    return Net().train()


@pytest.fixture(scope="module")
def result(network):
    return heatproof.compare(
        network, IMAGES, masks={"scar": MASKS}, labels=["b", "a", "c", "a", None], classes=("a", "b", "c"),
        explainers=["gradient", ("gradcam", {"layer": "convolution"}), Bright()], metrics=["pointing"], ids="vwxyz",
        name="scars",
    )  # fmt: skip


def test_heatmaps_are_the_gradients_of_the_predicted_class(network, result):
    assert network.training
    images = torch.tensor(IMAGES, requires_grad=True)
    logits = Net().eval()(images)
    logits.max(dim=1).values.sum().backward()
    expected = images.grad.amax(1).numpy()
    for index, id in enumerate("vwxyz"):
        np.testing.assert_allclose(result.case(id).heatmap("gradient"), expected[index], rtol=1e-4, atol=1e-9)
    probabilities = logits.softmax(1).detach().numpy()
    assert result.case("w").prediction == pytest.approx(dict(zip("abc", probabilities[1].tolist())), rel=1e-5)


def test_the_ranking_is_that_of_the_scores(result):
    rows = result.table("scores")
    values = [row["value"] for row in rows.to_dict("records")] if hasattr(rows, "to_dict") else rows
    assert len(values) > 0
    for entry in result.rankings[0].entries:
        key = entry.row["combination"]
        scores = result.results.query("from scores where combination = ? and measure = 'combined'", key)
        assert entry.value == pytest.approx(np.mean([row["value"] for row in scores]))


def test_a_component_from_a_notebook_is_compared_too(result):
    np.testing.assert_array_equal(result.case("y").heatmap("Bright"), IMAGES[3].max(0))


def test_the_text_names_everything(result):
    text = repr(result)
    for words in ("pointing on scars", "Net × gradient", "gradcam(layer=convolution)", "output= keeps it", "training"):
        assert words in text
    html = result._repr_html_()
    assert html.count("<tr>") == 5
    assert "Every image counts as a patient" in html


def test_tables_without_pandas(result, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pandas", None)
    rows = result.table()
    assert [row["value"] for row in rows] == [entry.value for entry in result.rankings[0].entries]
    assert r"gradcam(layer=convolution)" in rows.to_csv()
    rows.to_latex(tmp_path / "table.tex")
    text = (tmp_path / "table.tex").read_text()
    assert r"p\_vs\_random" in text
    assert r"Net $\times$ gradient" in text
    assert heatproof.Result(result.folder).table("summary").columns[:2] == ["dataset", "split"]
    with pytest.raises(HeatproofError, match="there is no table 'rank'; did you mean"):
        result.table("rank")


def test_cases(result):
    case = result.case("v")
    assert case.sample.label == 1
    assert [annotation.finding for annotation in case.sample.annotations] == ["scar"]
    assert case.image.shape == (12, 12, 3)
    assert "gradcam(layer=convolution)" in repr(case)
    with pytest.raises(HeatproofError, match="there is no case 'q'; allowed: v, w, x, y, z"):
        result.case("q")
    with pytest.raises(HeatproofError, match="has 3 heatmaps that fit; name explainer"):
        case.heatmap()
    with pytest.raises(HeatproofError, match="no heatmap has the explainer 'lrp'"):
        case.heatmap("lrp")


def test_a_run_is_resumed_and_opened_again(network, tmp_path):
    def compare(explainers):
        given = {"masks": MASKS, "metrics": ["pointing"], "output": tmp_path / "run", "preparation": Resize(size=6)}
        return heatproof.compare(network, IMAGES, explainers=explainers, **given)

    first = compare("gradient")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "heatmaps").glob("*/unit.json")}
    second = compare(["gradient", Bright()])
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert len(second.rankings[0].entries) == 3
    assert first.case("0").heatmap("gradient", original=True).shape == (12, 12)
    # Another process has neither the pictures nor the network, but the samples lie in the run's folder.
    again = heatproof.Result(tmp_path / "run")
    np.testing.assert_array_equal(again.case("0").image, second.case("0").image)
    np.testing.assert_array_equal(again.case("0").heatmap("Bright"), second.case("0").heatmap("Bright"))
    # They move with it.
    image = again.case("0").image
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    np.testing.assert_array_equal(heatproof.Result(moved).case("0").image, image)
    shutil.rmtree(moved / "samples")
    with pytest.raises(HeatproofError, match="has no prepared sample of '0' any more, and its image was in memory"):
        _ = heatproof.Result(moved).case("0").image


def test_an_older_result_does_not_read_the_tables_of_a_later_run(tmp_path):
    def compare(seed):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return heatproof.compare(network, IMAGES[:2], explainers="gradient", metrics=["deletion"], output=tmp_path)

    first = compare(1)
    heatmap = first.case("0").heatmap("gradient")
    second = compare(2)
    np.testing.assert_array_equal(first.case("0").heatmap("gradient"), heatmap)
    assert not np.array_equal(second.case("0").heatmap("gradient"), heatmap)
    with pytest.raises(HeatproofError, match="a later run has written"):
        first.table("scores")


def test_a_model_brings_its_own_preparation(network):
    model = Model.of(network, "abc", Resize(size=6))
    with pytest.raises(HeatproofError, match="Net brings its own preparation; leave preparation, head out"):
        heatproof.compare(model, IMAGES, explainers="gradient", preparation=Resize(size=4), head="sigmoid")


def test_without_masks_faithfulness_still_works(network):
    result = heatproof.compare(network, IMAGES[:1], explainers="gradient", metrics=["deletion", "pointing"])
    assert np.isfinite([entry.value for entry in result.rankings[0].entries]).all()
    assert any("no finding was examined" in remark for remark in result.remarks)


def test_explain(network):
    case = heatproof.explain(network, IMAGES[2], "gradcam", layer="convolution", target="b", classes=("a", "b", "c"))
    images = torch.tensor(IMAGES[2:3])
    features = torch.relu(network.convolution(images)).detach().requires_grad_()
    network.linear(features.mean((2, 3)))[0, 1].backward()
    expected = torch.relu((features.grad.mean((2, 3), keepdim=True) * features).sum(1))[0].detach().numpy()
    np.testing.assert_allclose(case.heatmap(), expected, rtol=1e-4, atol=1e-7)
    assert case.id == "0"
    folder = case.result.folder
    assert folder.is_dir()
    del case
    gc.collect()
    assert not folder.exists()


def test_a_segmentation_network_is_explained_over_a_region():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    region = {"class": "scar", "region": "mask"}
    result = heatproof.compare(
        network, IMAGES[:2], masks={"scar": MASKS[:2]}, classes=("none", "scar"), explainers="gradient", target=region
    )
    images = torch.tensor(IMAGES[:2], requires_grad=True)
    (network(images)[:, 1] * torch.tensor(MASKS[:2])).sum().backward()
    np.testing.assert_allclose(result.case("1").heatmap(), images.grad[1].amax(0), rtol=1e-4, atol=1e-7)
    with pytest.raises(HeatproofError, match="region"):
        heatproof.compare(network, IMAGES[:2], explainers="gradient")


@pytest.mark.parametrize(("given", "sentence"), [
    ({"explainers": "gradcamm"}, "no explainer is named 'gradcamm'"),
    ({"explainers": ("gradcam", {"layr": "last"})}, "did you mean 'layer'?"),
    ({"explainers": "gradient", "sede": 1}, "did you mean 'seed'?"),
    ({"explainers": "gradient", "mask": MASKS}, "compare has no argument 'mask'; did you mean 'masks'"),
    ({"explainers": "gradient", "targets": ["label"]}, "did you mean 'target'"),
    ({"explainers": []}, "there is nothing to compare; name one or more explainers"),
    ({"explainers": "gradient", "window": (5, 1)}, "window is (5, 1); give two rising numbers"),
    ({"explainers": "gradient", "classes": iter("abcd")}, "classes: 4, outputs of the network: 3"),
    ({"explainers": "gradient", "target": "cat"}, "has no class 'cat'"),
])  # fmt: skip
def test_mistakes_are_sentences(network, given, sentence):
    with pytest.raises(HeatproofError) as error:
        heatproof.compare(network, IMAGES, **given)
    assert sentence in str(error.value)


def test_components_in_every_form():
    bright = Bright()
    described = {"use": "lrp", "preset": "z_plus"}
    assert entries("a") == ["a"]
    assert entries(("lrp", {"preset": "z_plus"})) == [described]
    assert entries(["a", described, bright]) == ["a", described, bright]
    assert entries(bright) == [bright]
    assert entries({"lrp": {"preset": "z_plus"}, "a": {}}) == [described, {"use": "a"}]
    with pytest.raises(HeatproofError, match=r"Bright is a class; give an object of it, as in Bright\(\)"):
        entries(Bright)


def test_the_package_imports_nothing():
    code = "import sys, heatproof; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(folder.name == path for path, folder in TEMPORARY.items())
    with pytest.raises(AttributeError, match="no attribute 'comparison'"):
        _ = heatproof.comparison
