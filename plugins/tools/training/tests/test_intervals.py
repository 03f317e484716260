"""The table of a training's numbers, and the intervals of those that are pooled over folds."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.component import Component
from heatproof.config.entries import DatasetEntry
from heatproof.testing.toys import Blobs, Residual
from heatproof_grading.grading import Grading
from heatproof_training.cross_entropy import CrossEntropy
from heatproof_training.intervals import RESAMPLES, patient_counts
from heatproof_training.progress import Observer
from heatproof_training.settings import TrainingConfig
from heatproof_training.training import train


def test_all_numbers_are_in_the_table(tmp_path: Path) -> None:
    parts: dict[str, Any] = {
        "data": DatasetEntry(component=Blobs(count=24)), "model": Residual(), "objective": CrossEntropy(),
        "split": {"folds": 3, "validation": 0.25}, "epochs": 1, "batch": 4, "metrics": (Grading(),), "cache": False,
        "threads": 1,
    }  # fmt: skip
    outcome = train(TrainingConfig(output=tmp_path, **parts), Observer())
    assert isinstance(parts["model"], Component)
    with open(tmp_path / "measures.csv", newline="", encoding="utf-8") as stream:
        rows = {(row["fold"], row["part"], row["measure"]): row for row in csv.DictReader(stream)}
    numbers = json.loads((tmp_path / "results.json").read_text())
    for network in numbers["networks"]:
        for part in ("validation", "test"):
            for name, value in network[part].items():
                cell = rows[str(network["fold"]), part, name]["value"]
                assert (float(cell) if cell else None) == pytest.approx(value)
    pooled = rows["", "pooled", "accuracy"]
    assert float(pooled["value"]) == pytest.approx(numbers["pooled"]["accuracy"])
    assert float(rows["", "mean", "accuracy"]["value"]) == pytest.approx(numbers["folds"]["accuracy"]["mean"])
    tested = [entry for network in outcome.networks for entry in network.evaluations["test"].predictions]
    right = np.array([entry.prediction is not None and entry.prediction.decision == entry.sample.label
                      for entry in tested])  # fmt: skip
    counts = patient_counts([entry.sample.patient for entry in tested], RESAMPLES, 0)
    means = [np.repeat(right, row).mean() for row in counts]
    assert int(pooled["n_valid"]) == len(tested) == 24
    assert [float(pooled["low"]), float(pooled["high"])] == pytest.approx(np.percentile(means, [2.5, 97.5]))


def test_cases_of_a_patient_are_drawn_together() -> None:
    counts = patient_counts(["b", "a", "b", "c"], 500, 3)
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, [0, 1, 3]].sum(1) == 3).all()
    assert counts[:, 1].mean() == pytest.approx(1, abs=0.15)
    assert (counts == patient_counts(["b", "a", "b", "c"], 500, 3)).all()
