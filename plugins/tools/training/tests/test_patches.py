"""Patches, labels from annotations, memory and the checkpoint's precision."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from heatproof.config.entries import DatasetEntry
from heatproof.errors import DataError, HeatproofError
from heatproof.records import Annotation, Geometry, Sample
from heatproof.seeding import generator
from heatproof.testing.toys import Blobs, Linear
from heatproof_auc.auc import Auc
from heatproof_training import checkpoint
from heatproof_training.labels import annotated
from heatproof_training.multi_label import MultiLabel
from heatproof_training.patches import PatchSettings, patch, random_start, tiles
from heatproof_training.progress import Observer
from heatproof_training.settings import TrainingConfig
from heatproof_training.training import train

SIZE = 5


def picture(height: int = 12, width: int = 16) -> Sample:
    """An image whose first channel is also its mask, its extra and, above the median, its field of view."""
    image = np.random.default_rng(0).random((2, height, width)).astype(np.float32)
    return Sample(
        "a", image, (Annotation("lesion", image[0]),), 1, "p", Geometry.identity((height, width)),
        image[0] > np.median(image[0]), {"map": image, "age": 50},
    )  # fmt: skip


def test_everything_is_cut_out_together() -> None:
    sample = picture()
    cut = patch(sample, (3, 7), SIZE)
    window = sample.image[:, 3:8, 7:12]
    assert cut.id == "a[3,7]"
    assert (cut.patient, cut.label, cut.extras["age"]) == ("p", 1, 50)
    assert np.array_equal(cut.image, window)
    assert np.array_equal(cut.annotations[0].values, window[0])
    assert np.array_equal(cut.extras["map"], window)
    assert cut.field is not None
    assert sample.field is not None
    assert np.array_equal(cut.field, sample.field[3:8, 7:12])
    assert cut.geometry is not None
    assert np.allclose(cut.geometry.to_native(np.array([[0.0, 0.0]])), [[3, 7]])


@pytest.mark.parametrize(("length", "count"), [(5, 1), (10, 2), (11, 3), (16, 4)])
def test_tiles_cover_the_image_without_need_of_more(length: int, count: int) -> None:
    sample = replace(picture(SIZE, length), field=None)
    starts = [start for _, start in tiles(sample, PatchSettings(size=SIZE))]
    covered = np.zeros(length, int)
    for start in starts:
        covered[start : start + SIZE] += 1
    assert len(starts) == count
    assert (covered >= 1).all()
    assert (starts[0], starts[-1]) == (0, length - SIZE)


def test_windows_outside_the_field_are_left_out() -> None:
    field = np.zeros((12, 16), bool)
    field[:, 8:] = True
    sample = replace(picture(), field=field)
    settings = PatchSettings(size=4)
    assert tiles(sample, settings) == [(row, column) for row in (0, 4, 8) for column in (8, 12)]
    starts = {random_start(sample, settings, generator(0, index)) for index in range(2000)}
    # Exactly the windows of which half or more lies in the field, each of them.
    assert starts == {(row, column) for row in range(9) for column in range(6, 13)}
    assert random_start(sample, settings, generator(3)) == random_start(sample, settings, generator(3))
    rare = replace(sample, field=np.pad(np.ones((4, 4), bool), ((8, 0), (12, 0))))
    assert random_start(rare, PatchSettings(size=4, inside=1.0), generator(1)) == (8, 12)


def test_images_without_a_window_are_refused() -> None:
    with pytest.raises(DataError, match=r"image of a has 12 × 16 pixels, fewer than patches\.size \(13\); lower it"):
        tiles(picture(), PatchSettings(size=13))
    empty = replace(picture(), field=np.zeros((12, 16), bool))
    for start in (tiles, lambda sample, settings: random_start(sample, settings, generator(0))):
        with pytest.raises(DataError, match=r"no window of 4 pixels of a has a share of 0\.5 inside the field of view"):
            start(empty, PatchSettings(size=4))


class Lesions(Linear):
    """A toy with two findings as classes."""

    classes = ("small", "none")
    head = "sigmoid"


def test_labels_are_the_findings_inside_the_field() -> None:
    model = Lesions()
    small = np.zeros((12, 16), np.float32)
    small[2, 3] = 0.3
    small[2, 4] = 0.2
    none = np.zeros_like(small)
    sample = replace(picture(), annotations=(Annotation("small", small), Annotation("none", none)), field=None)
    assert annotated(sample, model) == (0,)
    assert annotated(replace(sample, field=np.arange(16) != np.full((12, 1), 4)), model) == ()
    assert annotated(patch(sample, (2, 3), 4), model) == (0,)
    assert annotated(patch(sample, (3, 3), 4), model) == ()
    with pytest.raises(DataError, match=r"nobody examined a for 'none' \(examined: small\); name findings as classes"):
        annotated(replace(sample, annotations=sample.annotations[:1]), model)
    gaze = Annotation("small", small, "density")
    with pytest.raises(DataError, match=r"the annotation of 'small' on a is a density, .*masks or boxes as classes"):
        annotated(replace(sample, annotations=(*sample.annotations, gaze)), model)


class Sides(Linear):
    """A network for images of any size, with both blobs as findings."""

    head = "sigmoid"

    def build(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
            return nn.Sequential(*layers)


class Unlabelled(MultiLabel):
    """An objective that uses no labels."""

    labelled = False


def settings(folder: Path, **changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "output": folder, "data": DatasetEntry(component=Blobs(count=8)), "model": Sides(), "labels": "annotations",
        "patches": {"size": 8, "per_image": 3}, "split": {"folds": 2, "validation": 0}, "objective": MultiLabel(),
        "epochs": 2, "batch": 4, "optimiser": {"lr": 0.01}, "metrics": [Auc()], "select_on": "last", "cache": False,
        "augment": {"flips": "both"}, "threads": 1,
    }  # fmt: skip
    return TrainingConfig(**values | changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(settings(folder), Observer())
    return folder


def test_each_tile_is_tested_once_with_its_own_labels(trained: Path) -> None:
    rows = list(csv.DictReader((trained / "predictions.csv").open()))
    dataset = Blobs(count=8)
    model = Sides()
    expected = {}
    for id in dataset.ids():
        whole = model.prepare(dataset.load(id))
        for start in tiles(whole, PatchSettings(size=8)):
            cut = patch(whole, start, 8)
            expected[cut.id] = ";".join(model.classes[label] for label in annotated(cut, model))
    assert {row["sample"]: row["label"] for row in rows} == expected
    assert len(rows) == 8 * 4
    assert len(set(expected.values())) > 2
    numbers = json.loads((trained / "results.json").read_text())
    assert set(numbers["pooled"]) == {*model.classes, "auc"}
    # 4 images of a fold, 3 windows of each, 4 windows a step.
    history = list(csv.DictReader((trained / "history.csv").open()))
    assert [row["epoch"] for row in history] == ["1", "2"] * 2


def test_samples_in_memory_change_nothing(trained: Path, tmp_path: Path) -> None:
    train(settings(tmp_path / "run", memory=0), Observer())
    for name in ("predictions.csv", "results.json"):
        assert (tmp_path / "run" / name).read_bytes() == (trained / name).read_bytes()


def test_a_checkpoint_of_float16_holds_the_weights_that_were_tested(trained: Path, tmp_path: Path) -> None:
    train(settings(tmp_path / "run", stored="float16"), Observer())
    full = load_file(trained / "fold-1/checkpoint.safetensors")
    half = load_file(tmp_path / "run/fold-1/checkpoint.safetensors")
    assert all(value.dtype == torch.float16 for value in half.values())
    assert all(torch.equal(half[name], full[name].half()) for name in full)
    [row] = [
        row for row in csv.DictReader((tmp_path / "run/predictions.csv").open()) if row["sample"] == "blob-000[0,0]"
    ]
    model = Sides()
    model.network.load_state_dict(half if row["fold"] == "1" else load_file(
        tmp_path / "run/fold-2/checkpoint.safetensors"
    ))  # fmt: skip
    cut = patch(model.prepare(Blobs(count=8).load("blob-000")), (0, 0), 8)
    probabilities = model.network(torch.from_numpy(cut.image)[None]).sigmoid()[0].tolist()
    assert [float(row[f"p {name}"]) for name in model.classes] == pytest.approx(probabilities, abs=1e-6)


def test_labels_of_annotations_need_an_objective_with_labels(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="Unlabelled uses no labels; leave out labels: annotations"):
        settings(tmp_path, objective=Unlabelled())


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    network.weight.data[0, 1] = 7e4
    with pytest.raises(HeatproofError, match=r"cannot hold 'weight' \(largest value 7e\+04\); set stored: full"):
        checkpoint.write(tmp_path / "checkpoint.safetensors", network, {}, [], half=True)
    assert not list(tmp_path.iterdir())
