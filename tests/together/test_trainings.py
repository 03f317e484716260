"""A small training of docs/trainings goes from a loss with heatmaps to a run."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from heatproof.config.settings import load as load_run
from heatproof.registry.catalog import default
from heatproof.results.finished import Results
from heatproof.run.runner import run
from heatproof_training.progress import Observer
from heatproof_training.settings import load
from heatproof_training.training import train
from heatproof_unet.unet import UNet

FOLDER = Path(__file__).resolve().parents[2] / "docs/trainings"
WATANABE = FOLDER / "watanabe-2022"
TINY = ("data.patients=10", "data.height=64", "epochs=1", "batch=6", "augment.crop=0", "cache=false")

pytestmark = pytest.mark.slow


def test_the_heatmap_term_alone_trains_the_encoder_and_a_run_takes_the_checkpoint(tmp_path: Path) -> None:
    """Set 1 with γ = 0: the loss is the distance of the heatmap from gaze, so the decoder stays as it was."""
    changes = ["objective.use=heatmap_segmentation", "objective.generator=guided_backprop", "objective.gamma=0"]
    changes += [f"output={tmp_path}/set-1", "objective.set=1", "start=model", "select_on=last", *TINY]
    outcome = train(load(WATANABE / "train.yaml", default(), changes), Observer())
    [network] = outcome.networks
    losses = network.history[0]["train"]
    assert losses["loss"] == pytest.approx(losses["segmentation"])
    first = UNet(encoder="resnet18", size=64).network.state_dict()
    trained = load_file(network.checkpoint)
    moved = {name for name, value in trained.items() if not first[name].equal(value) and name.endswith(".weight")}
    assert {"encoder.conv1.weight", "encoder.layer4.1.conv2.weight", "classification_head.3.weight"} <= moved
    assert not any(name.startswith(("decoder.", "segmentation_head.")) for name in moved)

    model = f"{{use: unet, encoder: resnet18, size: 64, weights: {network.checkpoint}}}"
    changes = [f"models=[{model}]", f"output={tmp_path}/run", "cache=false", "report.figures=false"]
    changes += [f"datasets.0.{name}" for name in ("patients=10", "height=64")]
    run(load_run(WATANABE / "agreement.yaml", default(), changes), default())
    [row] = [row for row in Results(tmp_path / "run", default()).comparisons if row["metric"] == "gaze"]
    assert row["a"].endswith("× guided_backprop")
    assert row["n_cases"] == 4
    assert row["low"] <= row["difference"] <= row["high"]
