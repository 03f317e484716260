"""Whole trainings of toys: resumption, selection, folds, results and the checkpoint."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from heatproof.component import Params
from heatproof.config.entries import DatasetEntry
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.passes import gradients
from heatproof.testing.toys import Blobs, Linear, Residual
from heatproof_backprop.guided_backprop import GuidedBackprop
from heatproof_grading.grading import Grading
from heatproof_heatmap_objectives.agreement import Agreement
from heatproof_objectives.objective import Objective
from heatproof_objectives.step import Step, evaluating
from heatproof_training.cross_entropy import CrossEntropy
from heatproof_training.progress import Observer
from heatproof_training.settings import TrainingConfig
from heatproof_training.trainer import Stopped
from heatproof_training.training import train


class Dropping(Residual):
    """A toy with dropout, so that the generator of torch matters."""

    def build(self) -> nn.Module:
        network = super().build()
        network.head = nn.Sequential(nn.Dropout(0.5), network.head)
        return network


def settings(folder: Path, **changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "output": folder, "data": DatasetEntry(component=Blobs(count=24)), "model": Dropping(),
        "split": {"validation": 0.25, "test": 0.25}, "objective": CrossEntropy(), "epochs": 3, "batch": 4,
        "optimiser": {"lr": 0.01}, "augment": {"flips": "vertical", "noise": 0.05}, "cache": False, "threads": 1,
    }  # fmt: skip
    return TrainingConfig(**values | changes)


class After(Observer):
    """Stops after a number of steps."""

    def __init__(self, steps: int):
        self.left = steps
        self.notices: list[str] = []

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self.left -= 1

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def stopping(self) -> bool:
        return self.left <= 0


def weights(folder: Path) -> dict[str, torch.Tensor]:
    [state] = folder.glob("state-*")
    return load_file(state / "model.safetensors") | {
        f"best.{name}": value for name, value in load_file(folder / "checkpoint.safetensors").items()
    }


def equal(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(settings(folder), Observer())
    return folder


@pytest.mark.parametrize("steps", [2, 3])
def test_a_training_that_was_stopped_continues_to_the_same_weights(whole: Path, tmp_path: Path, steps: int) -> None:
    """In mid-epoch and at its end: three steps are an epoch."""
    config = settings(tmp_path / "run")
    observer = After(steps)
    with pytest.raises(Stopped, match=r"stopped in epoch \d(, step \d of 3)?; the same command continues"):
        train(config, observer, observer.stopping)
    train(config, Observer())
    assert equal(weights(config.output), weights(whole))
    for name in ("predictions.csv", "results.json"):
        assert (config.output / name).read_text() == (whole / name).read_text()


class Killer(After):
    """Kills the process after a number of steps."""

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        super().step(epoch, step, steps, loss)
        if self.stopping():
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_training_that_was_killed_continues_to_the_same_weights(whole: Path, tmp_path: Path) -> None:
    """In mid-epoch, so that the last state is that of the epoch before, and a partial state may lie there."""
    config = settings(tmp_path / "run")
    child = os.fork()
    if not child:
        try:
            train(config, Killer(5))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [path.name for path in config.output.glob("state-*")] == ["state-000001-00000000"]
    (config.output / ".partial-state-1").mkdir()
    train(config, Observer())
    assert equal(weights(config.output), weights(whole))
    assert not list(config.output.glob(".partial*"))


def test_the_results_of_a_training(whole: Path) -> None:
    results = json.loads((whole / "results.json").read_text())
    [network] = results["networks"]
    assert network["epochs"] == 3
    assert results["parity"] is None
    rows = [line.split(",") for line in (whole / "predictions.csv").read_text().splitlines()]
    assert rows[0][:6] == ["fold", "part", "sample", "patient", "label", "decision"]
    assert [row[1] for row in rows[1:]].count("test") == 6
    with safe_open(whole / "checkpoint.safetensors", "pt") as file:
        record = json.loads(file.metadata()["heatproof_training"])
        assert json.loads(file.metadata()["classes"]) == ["left", "right", "neither"]
    assert record["seed"] == 0
    assert record["config"]["optimiser"]["lr"] == 0.01
    assert record["config"]["output"] == "run"
    assert str(whole.parent) not in str(record)
    assert record["epoch"] == network["best_epoch"]
    assert len(record["data"]) >= 16
    assert record["numbers"]["validation"]["loss"] == pytest.approx(network["validation"]["loss"])
    page = (whole / "training.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page
    assert (whole / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_loss_is_that_of_the_network_in_the_checkpoint(whole: Path) -> None:
    """A second implementation: load the checkpoint, and compute loss and decisions without any code of training."""
    model = Dropping()
    model.network.load_state_dict(load_file(whole / "checkpoint.safetensors"))
    dataset = Blobs(count=24)
    rows = [line.split(",") for line in (whole / "predictions.csv").read_text().splitlines()[1:]]
    losses = []
    for _, part, id, _, label, decision, *_ in rows:
        sample = model.prepare(dataset.load(id))
        with torch.no_grad():
            logits = model.network(torch.from_numpy(sample.image)[None])[0].double().numpy()
        assert model.classes[int(logits.argmax())] == decision
        assert model.classes[int(sample.label)] == label
        if part == "test":
            losses.append(np.log(np.exp(logits).sum()) - logits[int(sample.label)])
    [network] = json.loads((whole / "results.json").read_text())["networks"]
    assert network["test"]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_network_learns_the_side_of_the_brighter_blob(tmp_path: Path) -> None:
    config = settings(
        tmp_path / "run", data=DatasetEntry(component=Blobs(count=48)), model=Linear(), start="random", epochs=5,
        batch=8, augment={}, metrics=(Grading(),), select="accuracy", schedule={"use": "cosine"}, balance="classes",
        optimiser={"use": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True}, clip={"value": 1.0},
    )  # fmt: skip
    outcome = train(config, Observer())
    [network] = outcome.networks
    losses = [row["train"]["loss"] for row in network.history]
    assert losses[-1] < 0.5 * losses[0]
    assert network.evaluations["test"].measures["accuracy"] == 1
    best = max(row["validation"]["accuracy"] for row in network.history)
    assert network.history[network.best]["validation"]["accuracy"] == best
    assert not network.flags
    assert not outcome.flags


def test_selection_on_the_test_part_is_marked_everywhere(tmp_path: Path) -> None:
    config = settings(tmp_path / "run", select_on="test", epochs=1, split={"validation": 0, "test": 0.25})
    train(config, Observer())
    assert "parity" in (config.output / "training.html").read_text().lower()
    assert "too good" in json.loads((config.output / "results.json").read_text())["parity"]
    with safe_open(config.output / "checkpoint.safetensors", "pt") as file:
        assert "too good" in json.loads(file.metadata()["heatproof_training"])["flag"]


def test_every_sample_is_tested_once_in_folds(tmp_path: Path) -> None:
    config = settings(
        tmp_path / "run", split={"folds": 3, "validation": 0.25}, epochs=1, metrics=(Grading(),), model=Residual()
    )
    outcome = train(config, Observer())
    rows = [line.split(",") for line in (config.output / "predictions.csv").read_text().splitlines()[1:]]
    tested = sorted(row[2] for row in rows if row[1] == "test")
    assert tested == sorted(Blobs(count=24).ids())
    right = [row[4] == row[5] for row in rows if row[1] == "test"]
    assert outcome.numbers["pooled"]["accuracy"] == pytest.approx(np.mean(right))
    folds = [network.evaluations["test"].measures["accuracy"] for network in outcome.networks]
    assert outcome.numbers["folds"]["accuracy"]["mean"] == pytest.approx(np.mean(folds))
    assert outcome.numbers["folds"]["accuracy"]["std"] == pytest.approx(np.std(folds, ddof=1))
    assert len(list(config.output.glob("fold-*/checkpoint.safetensors"))) == 3
    page = (config.output / "training.html").read_text()
    assert "all folds, pooled" in page
    assert "mean of folds" in page


class PenaltyParams(Params):
    weight: float


class Penalty(Objective[PenaltyParams]):
    """Cross-entropy and the mean square of the gradient of the score by the image."""

    def losses(self, step: Step) -> dict[str, torch.Tensor]:
        with evaluating(step.batch.model.network):
            heatmaps = gradients(step.batch).images
        penalty = heatmaps.square().mean()
        assert penalty.requires_grad == step.training
        entropy = nn.functional.cross_entropy(step.outputs["logits"], step.labels())
        return {"loss": entropy + self.params.weight * penalty, "penalty": penalty}


def test_a_heatmap_in_the_loss_changes_what_is_learned(tmp_path: Path) -> None:
    penalties = []
    for weight in (0.0, 1e7):
        config = settings(
            tmp_path / f"{weight}", objective=Penalty(weight=weight), model=Residual(), augment={}, epochs=2
        )
        row = train(config, Observer()).networks[0].history[-1]
        penalties.append([row[part]["penalty"] for part in ("train", "validation")])
    assert penalties[1][0] < 0.5 * penalties[0][0]
    assert penalties[1][1] < 0.5 * penalties[0][1]


class Probed(Objective):
    """Cross-entropy, and the squares of a convolution of its own on the last layer, as an objective with weights."""

    def layers(self, model: Model) -> tuple[str, ...]:
        return ("last",)

    def modules(self, model: Model) -> nn.Module:
        self._probe = nn.Conv2d(8, 1, 1)
        return self._probe

    def losses(self, step: Step) -> dict[str, torch.Tensor]:
        activation = step.activations["last"]
        assert activation.requires_grad == step.training
        logits = step.batch.model.network.head(activation.mean((2, 3)))
        torch.testing.assert_close(logits, step.outputs["logits"])
        entropy = nn.functional.cross_entropy(logits, step.labels())
        probed = (self._probe(activation) - 1).square().mean()
        return {"loss": entropy + probed, "probed": probed}


def test_an_objective_reads_a_layer_of_the_same_pass_and_its_own_weights_are_resumed(tmp_path: Path) -> None:
    """Its weights are trained and lie in the state, but not in the checkpoint."""
    states = []
    for steps in (99, 3):
        config = settings(tmp_path / f"{steps}", objective=Probed(), model=Residual(), augment={}, epochs=2)
        observer = After(steps)
        if steps == 3:
            with pytest.raises(Stopped):
                train(config, observer, observer.stopping)
        history = train(config, Observer()).networks[0].history
        [state] = config.output.glob("state-*")
        states.append({**load_file(state / "model_1.safetensors"), **weights(config.output)})
    assert equal(*states)
    assert history[1]["train"]["probed"] < history[0]["train"]["probed"]
    assert load_file(config.output / "checkpoint.safetensors").keys() == Residual().network.state_dict().keys()


def test_an_early_stop_keeps_the_best_epoch(tmp_path: Path) -> None:
    config = settings(tmp_path / "run", patience=1, epochs=8, optimiser={"lr": 0.3})
    [network] = train(config, Observer()).networks
    assert len(network.history) < 8
    assert len(network.history) == network.best + 2


class Steep(Objective):
    """The mean square of the logits times a million, so that all gradients are large."""

    def losses(self, step: Step) -> dict[str, torch.Tensor]:
        return {"loss": 1e6 * step.outputs["logits"].square().mean()}


@pytest.mark.parametrize(("clip", "largest"), [({"value": 0.1}, 0.1), ({"norm": 2.0}, None)])
def test_clipped_gradients(tmp_path: Path, clip: dict[str, float], largest: float | None) -> None:
    """One step of plain descent with rate 1 changes the weights by the clipped gradient."""
    model = Linear()
    before = model.network[1].weight.detach().clone()
    config = settings(
        tmp_path / "run", model=model, objective=Steep(), clip=clip, epochs=1, batch=100, augment={},
        optimiser={"use": "sgd", "lr": 1.0, "momentum": 0, "nesterov": False},
    )  # fmt: skip
    train(config, Observer())
    change = load_file(config.output / "checkpoint.safetensors")["1.weight"] - before
    if largest is None:
        assert float(change.norm()) == pytest.approx(2.0, rel=1e-3)
    else:
        assert float(change.abs().max()) == pytest.approx(largest, rel=1e-4)
        assert float(change.abs().min()) == pytest.approx(largest, rel=1e-4)


@pytest.mark.parametrize("precision", [pytest.param("float64", marks=pytest.mark.slow), "bfloat16"])
def test_other_precisions(tmp_path: Path, precision: str) -> None:
    """Also with heatmaps in the loss, which a copy of the network computes that must agree with the network itself."""
    changes = {"precision": precision, "epochs": 1, "channels_last": True, "model": Residual()}
    objective = Agreement(base=CrossEntropy(), explainer=GuidedBackprop(), finding=Blobs.findings[0])
    config = settings(tmp_path / "run", objective=objective, **changes)
    [network] = train(config, Observer()).networks
    dtype = {"float64": torch.float64, "bfloat16": torch.float32}[precision]
    values = load_file(network.checkpoint).values()
    assert {value.dtype for value in values if value.is_floating_point()} == {dtype}
    assert np.isfinite(network.evaluations["test"].losses["loss"])


def test_frozen_modules_stay_as_they_are(tmp_path: Path) -> None:
    """Weights and running statistics; all others change. ``ModelError`` for a module that is not there."""
    before = {name: value.clone() for name, value in Normalised().network.state_dict().items()}
    train(settings(tmp_path / "run", model=Normalised(), freeze=("0", "1"), select_on="last"), Observer())
    after = load_file(tmp_path / "run/checkpoint.safetensors")
    for name, value in after.items():
        assert torch.equal(value, before[name]) == name.startswith(("0.", "1.")), name
    with pytest.raises(ModelError, match=r"freeze: .* has no module 'conv'; "):
        train(settings(tmp_path / "other", model=Normalised(), freeze=("conv",)), Observer())
    every = settings(tmp_path / "all", model=Normalised(), freeze=("0", "1", "3", "4", "8"))
    with pytest.raises(ModelError, match="has no weight that can be trained"):
        train(every, Observer())
    with pytest.raises(ValidationError, match="start: random draws them anew; leave out one of them"):
        settings(tmp_path, freeze=("0",), start="random")


class Normalised(Linear):
    """A network with two convolutions, each with BatchNorm."""

    def build(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = [
                nn.Conv2d(3, 4, 3),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.Conv2d(4, 4, 3),
                nn.BatchNorm2d(4),
                nn.ReLU(),
            ]
            return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
