"""What users get wrong, and what fails on the way: one sentence each, and nothing is lost."""

import pickle
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from heatproof.cli.commands import cli
from heatproof.config.entries import DatasetEntry
from heatproof.dataset import Tally
from heatproof.errors import DataError, HeatproofError, ModelError, StoreError
from heatproof.model import Model
from heatproof.records import Sample
from heatproof.testing.toys import Blobs, Residual
from heatproof_lesionnet.lesionnet import LesionNet
from heatproof_objectives.objective import Objective
from heatproof_objectives.step import Step
from heatproof_training.cross_entropy import CrossEntropy
from heatproof_training.multi_label import MultiLabel
from heatproof_training.progress import Observer
from heatproof_training.settings import TrainingConfig
from heatproof_training.trainer import Diverged
from heatproof_training.training import train

ABSENT = DatasetEntry(component=Blobs(count=12), ids=("blob-999",))
"""Data that cannot be read: whatever needs no data is refused before."""


def settings(folder: Path, **changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "output": folder / "run", "data": DatasetEntry(component=Blobs(count=12)), "model": Residual(),
        "split": {"validation": 0.25}, "objective": CrossEntropy(), "epochs": 2, "batch": 4, "optimiser": {"lr": 0.01},
        "cache": False, "threads": 1,
    }  # fmt: skip
    return TrainingConfig(**values | changes)


def refused(config: TrainingConfig, kind: type[HeatproofError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        train(config, Observer())
    assert "\n" not in str(caught.value)


class Failing(Objective):
    """Cross-entropy that becomes NaN at a step, counted over all epochs."""

    def __init__(self, **params: Any):
        super().__init__(**params)
        self._steps = 0

    def losses(self, step: Step) -> dict[str, Tensor]:
        loss = nn.functional.cross_entropy(step.outputs["logits"], step.labels())
        self._steps += step.training
        return {"loss": loss * (float("nan") if self._steps == 5 else 1)}


def test_a_loss_of_nan_names_the_batch_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    config = settings(tmp_path, objective=Failing(), epochs=4)
    message = r"the loss \(nan\) is not finite in epoch 3, batch 1 \(samples blob-\d+, .*\): training stopped; the best"
    refused(config, Diverged, message)
    values = load_file(config.output / "checkpoint.safetensors").values()
    assert all(bool(value.isfinite().all()) for value in values)
    assert [path.name for path in config.output.glob("state-*")] == ["state-000002-00000000"]


def test_weights_that_become_infinite_are_never_saved(tmp_path: Path) -> None:
    config = settings(tmp_path, optimiser={"use": "sgd", "lr": 1e6, "momentum": 0.9}, model=Residual(seed=1))
    refused(config, Diverged, "not finite in epoch")
    assert not list(config.output.glob("state-*"))


class Strange(Blobs):
    """Blobs of which one is at fault."""

    fault = ""

    def load(self, id: str) -> Sample:
        sample = super().load(id)
        if not id.endswith("5"):
            return sample
        from dataclasses import replace

        if self.fault == "label":
            return replace(sample, label=7)
        if self.fault == "none":
            return replace(sample, label=None)
        if self.fault == "several":
            return replace(sample, label=(0, 1))
        return replace(sample, image=sample.image[:, :32], annotations=(), field=None)


def strange(fault: str) -> DatasetEntry:
    return DatasetEntry(component=type(f"Strange{fault}", (Strange,), {"fault": fault})(count=12))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("label", "label 7 of blob-005 is outside the 2 classes"),
        ("none", r"1 of \d samples of the train part have no label, such as blob-005"),
        ("several", "sample blob-005 has 2 labels, but the objective needs a single one"),
    ],
)
def test_labels_at_fault(tmp_path: Path, fault: str, message: str) -> None:
    refused(settings(tmp_path, data=strange(fault)), DataError, message)


class Incomplete(Blobs):
    """A dataset of which a part becomes no sample."""

    def rejected(self) -> list[Tally]:
        return [Tally("patients in two splits", 2, example="p5: train, test")]


def test_what_becomes_no_sample_is_said(tmp_path: Path) -> None:
    entry = DatasetEntry(component=Incomplete(count=12))
    [flag] = train(settings(tmp_path, data=entry, epochs=1), Observer()).flags
    assert flag.text == "rejected: patients in two splits in Incomplete: 2, such as p5: train, test."


class Unprepared(Residual):
    preparation = None

    def prepare(self, sample: Sample) -> Sample:
        from dataclasses import replace

        return replace(sample, image=(sample.image / 255).astype(np.float32))


def test_images_of_several_sizes_are_named(tmp_path: Path) -> None:
    message = r"the prepared image of blob-\d+ has shape \(3, \d+, 64\).*choose a preparation with a fixed size"
    refused(settings(tmp_path, data=strange("size"), model=Unprepared(), batch=16), DataError, message)


def test_classes_that_the_model_does_not_have(tmp_path: Path) -> None:
    model = Model.of(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), ["left", "up"], Residual.preparation)
    refused(settings(tmp_path, model=model), DataError, "is labelled 'right', which is no class of")


class Unlabelled(CrossEntropy):
    """An objective that asks for no class."""

    labelled = False

    def losses(self, step: Step) -> dict[str, Tensor]:
        assert {sample.label for sample in step.samples} == {None}
        return {"loss": step.outputs["logits"].square().mean()}


def test_an_objective_without_labels_asks_for_no_class(tmp_path: Path) -> None:
    model = Model.of(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), ["left", "up"], Residual.preparation)
    outcome = train(settings(tmp_path, model=model, objective=Unlabelled(), epochs=1), Observer())
    assert len(outcome.networks) == 1


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"objective": MultiLabel()}, ModelError, "trains models with the head sigmoid"),
        ({"select": "kappa", "epochs": 1}, HeatproofError, "select: there is no number 'kappa'; allowed: loss"),
        ({"split": {"validation": 0.01}}, DataError, "no sample is left for the validation part"),
        ({"split": {"folds": 30}}, DataError, "30 folds need as many patients, and there are 6; lower split.folds"),
        ({"device": "cuda:99", "data": ABSENT}, HeatproofError, "device: cuda:99 is not available here"),
        ({"precision": "float16", "device": "cpu"}, HeatproofError, "float16 needs a graphics card"),
        ({"data": ABSENT}, DataError, "has no sample 'blob-999'"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, changes: Any, kind: type[HeatproofError], message: str) -> None:
    refused(settings(tmp_path, **changes), kind, message)


def test_a_folder_of_another_training_or_program_is_refused(tmp_path: Path) -> None:
    train(settings(tmp_path, epochs=1), Observer())
    before = (tmp_path / "run/checkpoint.safetensors").read_bytes()
    refused(settings(tmp_path, seed=1), StoreError, r"holds a training with another seed \(there: 0, now: 1\)")
    assert (tmp_path / "run/checkpoint.safetensors").read_bytes() == before
    [state] = (tmp_path / "run").glob("state-*")
    (state / "model.safetensors").write_bytes(b"no tensors")
    message = r"the state .*/state-000001-00000000 cannot be read .*; remove it, and run"
    refused(settings(tmp_path), StoreError, message)
    (tmp_path / "thesis.tex").touch()
    refused(settings(tmp_path, output=tmp_path), StoreError, "holds other files than those of a training")
    (tmp_path / "file").touch()
    refused(
        settings(tmp_path, output=tmp_path / "file/run"), StoreError, "cannot write to .*/file/run: Not a directory"
    )


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Let every file that becomes larger than ``size`` bytes fail, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    earlier = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, earlier)


def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path) -> None:
    """2000 bytes stop the checkpoint, 9000 bytes the state of the optimiser."""
    train(settings(tmp_path, epochs=1), Observer())
    config = settings(tmp_path, epochs=4)
    [state] = config.output.glob("state-*")
    before = {path: path.read_bytes() for path in state.iterdir()}
    for size in (2000, 9000):
        with files_at_most(size):
            refused(config, StoreError, "cannot write to .*/run: .*; make room, or choose")
        assert {path: path.read_bytes() for path in before} == before
        assert not list(config.output.rglob(".partial*"))
        assert load_file(config.output / "checkpoint.safetensors").keys() == Residual().network.state_dict().keys()
    assert len(train(config, Observer()).networks[0].history) == 4


class Payload:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("/tmp/heatproof-payload-ran"),)


def test_checkpoints_of_other_architectures_and_with_code(tmp_path: Path) -> None:
    save_file({"stem.weight": torch.zeros(2), "other": torch.zeros(1)}, tmp_path / "other.safetensors")
    model = LesionNet(weights=tmp_path / "other.safetensors")
    refused(settings(tmp_path, model=model), ModelError, "does not fit the network: keys missing: .*unknown: ")
    (tmp_path / "code.pt").write_bytes(pickle.dumps(Payload()))
    model = LesionNet(weights=tmp_path / "code.pt")
    refused(settings(tmp_path, model=model), ModelError, "is not a checkpoint that can be loaded safely")
    assert not Path("/tmp/heatproof-payload-ran").exists()


class Odd(Residual):
    def build(self) -> nn.Module:
        network = super().build()
        network.scale = nn.Parameter(torch.ones(1))
        return network


def test_weights_that_cannot_be_drawn_are_named(tmp_path: Path) -> None:
    refused(settings(tmp_path, model=Odd(), start="random"), ModelError, "does not know how to draw the weights of")


def test_all_mistakes_of_a_config_at_once_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "data: {use: phantom, patiens: 12}\nmodel: lesionet\nobjective: {use: ordinal, form: cumulative}\n"
        "optimiser: {use: adam, momentum: 0.9}\nepochs: 0\nmetrics: [ecs]\nschedul: {use: cosine}\n"
        "split: {validation: tuning}\nclip: {}\n"
    )
    result = CliRunner().invoke(cli, ["train", str(path)], prog_name="heatproof")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    for number, words in enumerate(
        ["patiens", "did you mean 'lesionnet'", "form", "momentum is a setting of sgd", "epochs", "ecs needs heatmaps",
         "did you mean 'schedule'", "so train must name one too", "give value or norm"], start=1,
    ):  # fmt: skip
        assert any(f"bad.yaml:{number}: " in line and words in line for line in lines), (words, result.output)
    assert not (tmp_path / "runs").exists()
