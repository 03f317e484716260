"""A toy paper of two steps on the smallest synthetic photographs."""

from pathlib import Path

import pytest

import heatproof_reproduce.library
from heatproof.registry.catalog import default
from heatproof_reproduce.paper import load
from heatproof_reproduce.reproduction import Reproduction

PAPER = """
title: A toy
citation: nobody 2026
shows: It shows that a <toy> runs.
data:
  - variable: TOY_DATA
    use: kaggle_dr
    twin: {from: phantom, set: {patients: 10, height: 64}}
    obtain: "the shop of toys"
steps:
  - {name: net, train: net.yaml}
  - {name: scores, run: scores.yaml}
profiles:
  smoke: {data: twin, set: {net: [epochs=1], scores: [statistics.resamples=50]}}
  real: {data: real}
figures: {bars: "toy_figures:draw"}
"""
NET = """
output: "${RUNS}/net"
data: {use: kaggle_dr, root: "${TOY_DATA}"}
split: {train: train, validation: tuning}
model: {use: resnet50, width: 0.02, size: 32}
objective: ordinal
epochs: 30
batch: 2
threads: 1
"""
SCORES = """
output: "${RUNS}/scores"
datasets: [{use: kaggle_dr, root: "${TOY_DATA}", split: test}]
models: [{use: resnet50, width: 0.02, size: 32, weights: "${RUNS}/net/checkpoint.safetensors"}]
explainers: []
metrics: [grading]
rows: 2
threads: 1
"""
PUBLISHED = """table,quantity,value,low,high,n,misprint,step,file,select,column,reason
Networks,Accuracy,0.5,0.4,0.6,100,,scores,summary.csv,model=resnet50*; measure=accuracy,,
Networks,Photographs,4,,,,,scores,summary.csv,model=resnet50*; measure=accuracy,n_valid,
Networks,Grades,5,,,,,,,,,nothing of ours counts grades
"""
FIGURES = '''
"""The figure of the toy."""

from heatproof_reproduce.drawing import bars, new_figure, titled


def draw(reproduction):
    [row] = [row for row in reproduction.results("scores").summary if row["measure"] == "accuracy"]
    figure = new_figure(3, 2)
    titled(figure, reproduction, "Toy", "scores")
    bars(figure.subplots(), [0], [row], 0.5)
    return figure, [{"value": row["value"], "n": row["n_valid"]}]
'''
FILES = {
    "paper.yaml": PAPER, "net.yaml": NET, "scores.yaml": SCORES, "published.csv": PUBLISHED,
    "toy_figures.py": FIGURES,
}  # fmt: skip


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the toy paper, which is named ``toy``; the working folder is beside it."""
    folder = tmp_path / "toy"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text.replace("toy_figures:draw", "toy_figures:draw"))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(heatproof_reproduce.library, "folder_of", lambda catalog, name: folder)
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def reproduction(toy: Path) -> Reproduction:
    """The toy in its smoke profile, before anything ran."""
    paper = load(toy, default())
    return Reproduction("toy", paper, "smoke", toy, toy / "out", {"TOY_DATA": toy / "out/data/toy_data"}, default())
