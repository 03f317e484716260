"""A whole inspection: features on disk that are continued, sections that fail alone, files and page."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from heatproof.cli.commands import cli
from heatproof.config.entries import DatasetEntry
from heatproof.errors import ConfigError, DataError, ModelError, StoreError
from heatproof.registry.catalog import default
from heatproof.testing.toys import Blobs, Regions
from heatproof_gradient.gradient import Gradient
from heatproof_inspection import features as features_module
from heatproof_inspection.inspecting import inspect
from heatproof_inspection.page import NAME
from heatproof_inspection.settings import InspectionConfig, load
from heatproof_inspectors.inspection import Inspection, Points
from heatproof_inspectors.inspector import Inspector
from heatproof_inspectors.memory import InMemory

HOSTILE = "<script>alert(1)</script>"


class Corners(Inspector):
    """Shows the first two features."""

    def layers(self, model):
        return ("0",)

    def inspect(self, subject):
        values = subject.features("0")[:]
        rows = [{"id": case.id, "x": float(row[0]), "note": HOSTILE} for case, row in zip(subject.cases, values)]
        figure = Figure()
        figure.subplots().plot(values[:, 0])
        points = Points(values[:, :2], np.arange(len(values)), ("first", "second"), HOSTILE)
        return Inspection(
            (f"the mean is {values.mean():.6g} {HOSTILE}",), {"x": rows}, {"x": figure}, {"plane": points}
        )


class Failing(Inspector):
    """Has no result."""

    def inspect(self, subject):
        raise DataError("there is nothing to see")


class Lost(Inspector):
    """Names a layer that no network has."""

    def layers(self, model):
        return ("absent",)

    def inspect(self, subject):
        raise AssertionError("it has no features")


class Damaged(Blobs):
    """Has an image that cannot be decoded, and one that is not finite."""

    def load(self, id):
        sample = super().load(id)
        if id == "blob-001":
            raise DataError("blob-001 is no picture.")
        if id == "blob-004":
            image = sample.image.astype(np.float64)
            image[0, 0, 0] = np.nan
            return type(sample)(**{**vars(sample), "image": image})
        return sample


def config(folder: Path, *inspectors: Inspector, dataset: Any = None, **settings: Any) -> InspectionConfig:
    entries = [DatasetEntry(component=dataset or Blobs(count=12), split=split) for split in ("tuning", "test")]
    return InspectionConfig(
        output=folder, datasets=entries, model=Regions(), inspectors=inspectors or (Corners(),), rows=5, **settings
    )


@pytest.fixture
def passes(monkeypatch):
    """The number of passes of the network that take features."""
    taken = []
    forward = features_module.Features._forward
    monkeypatch.setattr(
        features_module.Features, "_forward", lambda self, *given: taken.append(given) or forward(self, *given)
    )
    return taken


def test_features_and_cases_are_those_of_a_subject_in_memory(tmp_path: Path) -> None:
    outcome = inspect(config(tmp_path / "out"))
    model = Regions()
    blobs = Blobs(count=12)
    samples = [model.prepare(blobs.load(id)) for id in blobs.ids()]
    expected = InMemory(model, samples, blobs.classes).features("0")
    [section] = outcome.sections
    assert section.inspection is not None
    rows = section.inspection.tables["x"]
    assert [row["id"] for row in rows] == blobs.ids()
    np.testing.assert_allclose([row["x"] for row in rows], expected[:, 0], rtol=1e-5)
    record = json.loads((tmp_path / "out/inspection.json").read_text())
    assert record["inspectors"][0]["sentences"] == list(section.inspection.sentences)
    assert {path.name for path in (tmp_path / "out/Corners").iterdir()} == {
        "x.csv", "x.png", "x.svg", "x.pdf", "plane-points.csv",
    }  # fmt: skip


def test_a_finished_inspection_takes_no_feature_again_and_has_the_same_page(tmp_path: Path, passes: list[Any]) -> None:
    inspect(config(tmp_path / "out", explainer=Gradient()))
    first = (tmp_path / "out" / NAME).read_bytes()
    assert len(passes) == 3
    inspect(config(tmp_path / "out", explainer=Gradient()))
    assert len(passes) == 3
    assert (tmp_path / "out" / NAME).read_bytes() == first


def test_an_interrupted_inspection_goes_on_with_the_missing_pieces(
    tmp_path: Path, passes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = inspect(config(tmp_path / "whole")).sections[0].inspection
    passes.clear()
    monkeypatch.setattr(features_module, "PIECE", 4)

    def interrupted(text: str) -> None:
        if "case 9" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect(config(tmp_path / "out"), interrupted)
    assert len(passes) == 2
    continued = inspect(config(tmp_path / "out")).sections[0].inspection
    assert len(passes) == 3
    assert whole is not None
    assert continued is not None
    assert continued.sentences == whole.sentences


def test_other_cases_are_taken_anew_and_the_old_ones_removed(tmp_path: Path, passes: list[Any]) -> None:
    inspect(config(tmp_path / "out"))
    inspect(config(tmp_path / "out", dataset=Blobs(count=12, seed=1)))
    assert len(passes) == 6
    assert len(list((tmp_path / "out/features").iterdir())) == 1


def test_cases_that_cannot_be_read_are_named_and_left_out(tmp_path: Path) -> None:
    outcome = inspect(config(tmp_path / "out", dataset=Damaged(count=12)))
    assert [entry.partition(":")[0] for entry in outcome.unread] == ["blob-001", "blob-004"]
    assert "is no picture" in outcome.unread[0]
    assert "not finite" in outcome.unread[1]
    inspection = outcome.sections[0].inspection
    assert inspection is not None
    assert len(inspection.tables["x"]) == 10
    assert all(row["x"] == row["x"] for row in inspection.tables["x"])
    assert "2 could not be read, such as blob-001" in outcome.page.read_text(encoding="utf-8")


def test_an_inspector_without_a_result_stops_no_other(tmp_path: Path) -> None:
    outcome = inspect(config(tmp_path / "out", Failing(), Lost(), Corners(), Corners()))
    assert [section.reason for section in outcome.sections[::2]] == ["there is nothing to see", ""]
    assert "has no layer 'absent'" in outcome.sections[1].reason
    assert [section.name for section in outcome.sections] == ["Failing", "Lost", "Corners", "Corners-2"]
    assert "No result: there is nothing to see" in outcome.page.read_text(encoding="utf-8")


def test_the_page_escapes_text_and_loads_nothing(tmp_path: Path) -> None:
    text = inspect(config(tmp_path / "out", explainer=Gradient(), pictures=7)).page.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    assert re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*", text) == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)[^\"' ]*", text) == []
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert len(data["pictures"]) == 7
    assert all(uri.startswith("data:image/webp") for pair in data["pictures"].values() for uri in pair)
    plane = data["planes"]["Corners/plane"]
    assert np.ptp(plane["positions"], axis=0).max() == pytest.approx(1, abs=1e-3)
    assert {case["split"] for case in data["cases"]} == {"tuning", "test"}


@pytest.mark.parametrize(
    ("inspectors", "settings", "error", "sentence"),
    [
        ((Lost(),), {}, ModelError, "has no layer 'absent'"),
        ((Corners(),), {"device": "cuda:7"}, Exception, "cuda:7 is not available here"),
    ],
)
def test_what_cannot_be_inspected_is_refused(
    tmp_path: Path, inspectors: Any, settings: Any, error: Any, sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        inspect(config(tmp_path / "out", *inspectors, **settings))


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"holds other files than those of an inspection, such as notes\.txt"):
        inspect(config(tmp_path))


def test_a_config_tells_all_its_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "datasets: [{use: phantom, patients: 4}, {use: phantom, patients: 5}]\nmodel: lesionnet\n"
        "inspectors: [pca]\nrows: 0\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path, default())
    text = str(caught.value)
    assert "several datasets" in text
    assert "inspectors.0" in text
    assert "rows" in text


@pytest.mark.slow
def test_the_command_on_the_phantom(tmp_path: Path) -> None:
    path = tmp_path / "inspect.yaml"
    path.write_text(
        "datasets: [{use: phantom, patients: 10, height: 96, split: test}]\nmodel: lesionnet\nexplainer: gradcam\n"
        "inspectors: [projection, {use: neighbours, k: 50}]\noutput: out\n"
    )
    result = CliRunner().invoke(cli, ["inspect", str(path)])
    assert result.exit_code == 1
    assert "principal components hold" in result.output
    assert f"wrote {tmp_path / 'out' / NAME}" in result.output
    assert "no result of neighbours: k = 50 needs at least 51 cases" in result.output
