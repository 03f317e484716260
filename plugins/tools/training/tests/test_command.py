"""From a config to a checkpoint that a run takes as the weights of the same model."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from heatproof.cli.commands import cli
from heatproof_lesionnet.lesionnet import LesionNet

CONFIG = """
data: {use: phantom, patients: 8, height: 64, split: tuning}
split: {validation: 0.5}
model: lesionnet
objective: ordinal
optimiser: {use: sgd, lr: 0.001, nesterov: true, momentum: 0.9}
schedule: {use: triangular2, period: 2, lowest: 0.0090552}
epochs: 1
batch: 2
clip: {value: 0.1}
metrics: [grading]
threads: 1
output: training
"""
RUN = """
datasets: [{use: phantom, patients: 8, height: 64, split: tuning, limit: 1}]
models: [{use: lesionnet, weights: training/checkpoint.safetensors}]
explainers: [gradient]
output: run
"""


def printed(*words: object) -> str:
    result = CliRunner().invoke(cli, [str(word) for word in words], prog_name="heatproof")
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_a_checkpoint_is_the_weights_of_the_model_in_a_run(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(CONFIG)
    (tmp_path / "run.yaml").write_text(RUN)
    text = printed("train", tmp_path / "train.yaml", "--set", "seed=3")
    assert "validation" in text
    assert f"wrote {tmp_path}/training/checkpoint.safetensors" in text
    assert json.loads((tmp_path / "training/results.json").read_text())["networks"][0]["validation"]["loss"] > 0
    assert printed("train", tmp_path / "train.yaml", "--set", "seed=3").splitlines()[-1] == text.splitlines()[-1]
    assert "run" in printed("run", tmp_path / "run.yaml")
    [model] = json.loads((tmp_path / "run/provenance.json").read_text())["models"]
    trained = LesionNet(weights=tmp_path / "training/checkpoint.safetensors").weights_digest
    assert list(model["weights"]) == [trained] != [LesionNet().weights_digest]


def test_objectives_are_listed_and_shown() -> None:
    rows = [line.split()[:2] for line in printed("list").splitlines() if line.startswith("objective")]
    assert {name for _, name in rows} >= {"cross_entropy", "multi_label", "ordinal", "regression"}
    assert "Beckham and Pal" in printed("show", "ordinal")
