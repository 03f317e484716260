"""Scores ten heatmapping methods on IDRiD's 54 photographs, each by networks that never saw the photograph.

``IDRID=FOLDER python docs/papers/van-craenendonck-2020/results/crossfit.py NETWORK`` runs ``grid.yaml`` for the six
networks of a cross-validation, each on the photographs that it left out, and with ``--control`` for the same network
with random weights on the photographs of three folds. NETWORK is resnet50, vgg16, inceptionv3 or fundusnet; the
trainings are those of ``docs/trainings/idrid-findings`` and ``docs/trainings/fundusnet``. FOLDER holds
``A. Segmentation``. The same command continues an interrupted run. ``tables.py`` makes the tables and charts of this
folder from the runs.
"""

import argparse
import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open

from heatproof.config.settings import load
from heatproof.registry.catalog import default
from heatproof.run.runner import run

RUNS = Path(__file__).resolve().parents[4] / "runs"
FINDINGS = ["microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates"]
NARROW = {"width": 0.125, "findings": FINDINGS}
MODELS: dict[str, dict[str, Any]] = {
    "resnet50": {"use": "resnet50", "name": "ResNet50", **NARROW},
    "vgg16": {"use": "vgg16", "name": "VGG16", **NARROW},
    "inceptionv3": {"use": "inceptionv3", "name": "InceptionV3", **NARROW},
    "fundusnet": {"use": "fundusnet", "name": "FundusNet"},
}
"""Network → its entry in ``models``, but for the weights."""
SIZES = {"resnet50": 448, "vgg16": 448, "inceptionv3": 448, "fundusnet": 1024}
"""Network → the side of its photographs in pixels."""
PHOTOGRAPHS = 54
OMITTED = {
    "fundusnet": (
        "z_ib", "epsilon_ib", "w_square", "alpha_2_beta_1_ib", "alpha_1_beta_0_ib", "z_plus_fast",
        "sequential_preset_a_flat", "sequential_preset_b_flat",
    ),
}  # fmt: skip
"""Network → presets of LRP that are left out: at 1024 pixels each takes five seconds of a core for a photograph."""
HALF = (1, 3, 5)
"""The folds on whose 27 photographs controls run."""
FOLDS = {"fundusnet": HALF}
"""Network → the folds on whose photographs it runs; the others run on all. A photograph takes it 100 seconds."""


def folds_of(network: str) -> Path:
    """The folder of the cross-validation of a network."""
    if network == "fundusnet":
        return RUNS / "fundusnet-folds"
    return RUNS / "idrid-findings" / f"{network}-folds"


def left_out(folder: Path) -> dict[int, list[str]]:
    """Fold → the photographs that its network never saw; raises ``ValueError`` unless each is left out once."""
    photographs: dict[int, set[str]] = {}
    with open(folder / "predictions.csv", newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["part"] == "test":
                photographs.setdefault(int(row["fold"]), set()).add(row["patient"])
    names = [name for members in photographs.values() for name in members]
    if len(names) != PHOTOGRAPHS or len(set(names)) != PHOTOGRAPHS:
        raise ValueError(f"{folder} left out {len(names)} photographs, {len(set(names))} of them different.")
    return {fold: sorted(members) for fold, members in sorted(photographs.items())}


def checkpoint_of(folder: Path, fold: int) -> Path:
    """The checkpoint of a fold; raises ``ValueError`` if its metadata name another fold."""
    path = folder / f"fold-{fold}" / "checkpoint.safetensors"
    with safe_open(path, "pt") as checkpoint:
        trained = json.loads(checkpoint.metadata()["heatproof_training"])
    if trained["fold"] != fold:
        raise ValueError(f"{path} is the network of fold {trained['fold']}.")
    return path


def folds_run(network: str, control: bool) -> dict[int, list[str]]:
    """Fold → its photographs, for the folds on which a network, or its control, runs."""
    folds = left_out(folds_of(network))
    return {fold: folds[fold] for fold in (HALF if control else FOLDS.get(network, folds))}


def entries(network: str, control: bool) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """The name of each run, its model, and its photographs."""
    model = MODELS[network]
    folds = folds_run(network, control)
    if control:
        weights = {"weights": "random"} if network == "fundusnet" else {}
        photographs = sorted(id for members in folds.values() for id in members)
        yield f"{network}-random", model | weights | {"name": control_of(network)}, photographs
        return
    for fold, photographs in folds.items():
        yield f"{network}-{fold}", model | {"weights": str(checkpoint_of(folds_of(network), fold))}, photographs


def control_of(network: str) -> str:
    """The name of the network with random weights."""
    return f"{MODELS[network]['name']}, random weights"


def main() -> None:
    """Run the grid of one network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network", choices=MODELS)
    parser.add_argument("--control", action="store_true", help="the network with random weights")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="change grid.yaml")
    options = parser.parse_args()
    os.environ["RUNS"] = str(RUNS / "van-craenendonck-2020-results")
    catalog = default()
    for name, model, photographs in entries(options.network, options.control):
        os.environ["NAME"] = name
        overrides = [f"models.0={json.dumps(model)}", f"datasets.0.ids={json.dumps(photographs)}", *options.set]
        config = load(Path(__file__).with_name("grid.yaml"), catalog, overrides)
        omitted: tuple[str, ...] = OMITTED.get(options.network, ())
        kept = [entry for entry in config.explainers if entry.describe().get("preset") not in omitted]
        finished = run(config.model_copy(update={"explainers": tuple(kept)}), catalog)
        print(f"{name}: {finished.units} units, {finished.failures} values missing, {finished.folder}", flush=True)


if __name__ == "__main__":
    main()
