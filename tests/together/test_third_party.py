"""A third-party method, installed with pip from a folder outside the workspace: listed, checked and run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from heatproof.results.parquet import read_table

pytestmark = pytest.mark.slow

PYPROJECT = """
[project]
name = "heatproof-edges"
version = "3.1"
dependencies = ["heatproof"]
entry-points.heatproof.edges = "heatproof_edges"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
EXPLAINER = '''
"""Edges as a heatmap, weighed by the gradient."""

from heatproof.explainer import Explainer
from heatproof.hooks import hookimpl
from heatproof.passes import gradients


class Edges(Explainer):
    """Where the image has an edge and the gradient is not zero."""

    def explain(self, batch):
        edges = (batch.images - batch.images.roll(1, -1)).abs()
        return edges * gradients(batch).images.abs()


@hookimpl
def heatproof_explainers():
    return {"edges": "heatproof_edges:Edges"}
'''
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
CONFIG = {
    "output": "run", "datasets": [{"use": "phantom", "patients": 20, "height": 64, "split": "test"}],
    "models": [{"use": "resnet50", "size": 32}], "explainers": ["edges"], "metrics": ["ecs"],
    "rows": 1, "threads": 1, "device": "cpu", "statistics": {"resamples": 50, "permutations": 50},
    "report": {"examples": 0},
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip installs the plugin, outside this environment."""
    folder = tmp_path_factory.mktemp("somebody")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "heatproof_edges.py").write_text(EXPLAINER.lstrip())
    subprocess.run([*PIP, "--target", str(folder / "site"), str(folder)], check=True)
    return folder / "site"


def heatproof(site: Path, *words: str, cwd: Path | None = None) -> str:
    """The output of the installed command."""
    command = [Path(sys.executable).parent / "heatproof", *words]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_small_and_was_not_there() -> None:
    assert len(EXPLAINER.strip().splitlines()) <= 20
    command = [Path(sys.executable).parent / "heatproof", "show", "edges"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nothing is registered as 'edges'" in done.stderr


def test_it_is_listed(site: Path) -> None:
    rows = [line.split() for line in heatproof(site, "list").splitlines()]
    assert ["explainer", "edges", "heatproof-edges", "3.1"] in rows


def test_it_passes_the_laws(site: Path) -> None:
    text = heatproof(site, "check", "edges")
    assert "passed   explainer edges: " in text
    assert "edges passes: " in text.splitlines()[-1]


def test_it_runs_from_a_config(site: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(json.dumps(CONFIG))
    text = heatproof(site, "run", "config.yaml", "--strict", cwd=tmp_path)
    assert "resnet50(size=32) × edges" in text
    scores = read_table(tmp_path / "run/scores.parquet")
    assert set(scores["explainer"]) == {"edges", "random"}
    values = scores["value"][(scores["explainer"] == "edges") & (scores["status"] == "valid")]
    assert len(values)
    assert np.isfinite(values).all()
    provenance = json.loads((tmp_path / "run/provenance.json").read_text())
    assert provenance["environments"][0]["versions"]["heatproof-edges"] == "3.1"
