"""Trains the eight models of Watanabe et al. 2022 on synthetic radiographs, and compares their heatmaps with gaze.

    python docs/trainings/watanabe-2022/eight_models.py --folder runs/watanabe-2022 [--seeds 0 1 2]

It calls ``heatproof train train.yaml`` for each model and ``heatproof run agreement.yaml`` for each explainer, so that
it can be stopped and started again. It prints the tables of index.md, and draws curves.png of the first seed.
"""

import argparse
import csv
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from heatproof.records import Array
from heatproof_gaze.likeness import correlation
from heatproof_phantom.phantom import Phantom
from heatproof_unet.unet import UNet

HERE = Path(__file__).parent
GENERATORS = ("guided_backprop", "deconvnet")
EXPLAINERS = (*GENERATORS, "gradient")
BASELINE = "baseline"
MODELS: Mapping[str, Sequence[str]] = {
    BASELINE: [],
    "encoder": ["model.use=unet_encoder", "objective.use=cross_entropy"],
    **{
        f"set-{number}-{generator}": [
            "objective.use=heatmap_segmentation", f"objective.set={number}", f"objective.generator={generator}",
        ]
        for generator in GENERATORS
        for number in (1, 2, 3)
    },
}  # fmt: skip
"""Folder of a model → its changes of ``train.yaml``."""


def trained(runs: Path, seed: int) -> Mapping[str, float]:
    """Train all models by a seed into ``runs``, or continue; return the seconds of processor time of each."""
    seconds = {}
    for name, changes in MODELS.items():
        before = os.times()
        heatproof("train", "train.yaml", runs, [f"output={runs / name}", f"seed={seed}", *changes])
        after = os.times()
        seconds[name] = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds


def heatproof(command: str, config: str, runs: Path, changes: Sequence[str] = (), **variables: str) -> None:
    """Call the command line on a config of this folder; raises ``CalledProcessError`` if it fails."""
    settings = [word for change in changes for word in ("--set", change)]
    environment = {**os.environ, "RUNS": str(runs), **variables}
    subprocess.run(["heatproof", command, str(HERE / config), *settings], check=True, env=environment)


def differences(runs: Path, explainer: str) -> Iterator[str]:
    """Yield a line of a table per model: correlation with gaze, and its difference from that of the baseline."""
    folder = runs / f"agreement-{explainer}"
    rows = csv.DictReader((folder / "summary.csv").open(encoding="utf-8"))
    values = {row["model"]: row for row in rows if row["measure"] == "correlation" and row["explainer"] == explainer}
    pairs = csv.DictReader((folder / "comparisons.csv").open(encoding="utf-8"))
    first = f"{BASELINE} × {explainer}"
    compared = {row["b"].partition(" × ")[0]: row for row in pairs if row["a"] == first}
    for name in MODELS:
        value, low, high = (float(values[name][column]) for column in ("value", "low", "high"))
        line = f"| {explainer} | {name} | {value:.3f} ({low:.3f}–{high:.3f}) |"
        if name == BASELINE:
            yield f"{line} | |"
            continue
        change, most, least = (-float(compared[name][column]) for column in ("difference", "low", "high"))
        yield f"{line} {change:+.3f} ({least:+.3f} to {most:+.3f}) | {float(compared[name]['p_holm']):.4f} |"


def without_network() -> float:
    """The mean correlation of the gaze on the test images with one map for all: the mean gaze of the training part."""
    phantom = Phantom(subject="chest", patients=150, height=128)
    model = UNet(encoder="resnet18", size=64)
    gaze = {split: [_gaze(phantom, model, id) for id in phantom.ids(split)] for split in ("train", "test")}
    usual = np.mean(gaze["train"], axis=0)
    return float(np.mean([correlation(usual, density) for density in gaze["test"]]))


def _gaze(phantom: Phantom, model: UNet, id: str) -> Array:
    """The mean density (*space) of the readers of a prepared image."""
    sample = model.prepare(phantom.load(id))
    densities = [entry.values / entry.values.sum() for entry in sample.annotations if entry.finding == "gaze"]
    return np.asarray(np.mean(densities, axis=0))


def curves(runs: Path) -> Figure:
    """Draw the validation losses by epoch, of the classes and of the maps, of the models whose loss has both."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = figure.subplots(1, 2)
    for name in MODELS:
        rows = list(csv.DictReader((runs / name / "history.csv").open(encoding="utf-8")))
        epochs = [int(row["epoch"]) for row in rows]
        for panel, column in zip(panels, ("validation_classification", "validation_segmentation")):
            if column in rows[0]:
                panel.plot(epochs, [float(row[column]) for row in rows], label=name, linewidth=1)
    for panel, text in zip(panels, ("loss of the classes", "loss of mask and heatmap")):
        panel.set(xlabel="epoch", ylabel=text, yscale="log", xticks=range(2, len(epochs) + 1, 2))
    panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure


def main() -> None:
    """Train, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    folders = [arguments.folder.resolve() / f"seed-{seed}" for seed in arguments.seeds]
    for seed, runs in zip(arguments.seeds, folders):
        start = time.monotonic()
        seconds = trained(runs, seed)
        for explainer in EXPLAINERS:
            heatproof("run", "agreement.yaml", runs, EXPLAINER=explainer)
        print(f"seed {seed}: {time.monotonic() - start:.0f} s; processor seconds of the trainings: ", end="")
        print(", ".join(f"{name} {taken:.0f}" for name, taken in seconds.items()), flush=True)
    for runs in folders:
        print(f"\n{runs.name}")
        for explainer in EXPLAINERS:
            print("\n".join(differences(runs, explainer)))
    print(f"\nthe mean gaze of the training part: {without_network():.3f}")
    curves(folders[0]).savefig(HERE / "curves.png", dpi=64)


if __name__ == "__main__":
    main()
