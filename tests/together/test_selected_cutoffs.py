"""Cut-offs of a grader, selected on the tuning split, against runs in which they are written out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from heatproof.config.settings import from_plain
from heatproof.registry.catalog import default
from heatproof.run.runner import run

CUTOFFS = [[0.5, 1.5, 2.5, 3.5], [0.2, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 3.8]]


def kappas(folder: Path, split: str, metrics: list[Any]) -> list[float]:
    settings = {
        "output": str(folder), "datasets": [{"use": "phantom", "split": split, "patients": 20, "height": 128}],
        "models": ["lesionnet"], "metrics": metrics, "cache": False, "threads": 1,
        "statistics": {"resamples": 20, "permutations": 20}, "report": {"examples": 0, "figures": False},
    }  # fmt: skip
    rows = run(from_plain(settings, default()), default()).summary
    return [row["value"] for row in rows if row["measure"] == "kappa"]


@pytest.mark.slow
def test_the_cutoffs_with_the_largest_kappa_are_reported(tmp_path: Path) -> None:
    plain = [
        {"use": "grading", "name": f"grading {number}", "cutoffs": values} for number, values in enumerate(CUTOFFS)
    ]
    tuning = kappas(tmp_path / "tuning", "tuning", plain)
    test = kappas(tmp_path / "test", "test", plain)
    selected = kappas(tmp_path / "run", "test", [{"use": "grading", "cutoffs": CUTOFFS, "select": {"by": "kappa"}}])
    (entry,) = YAML(typ="safe").load((tmp_path / "run/selection.yaml").read_text()).values()
    assert [row["value"] for row in entry["candidates"]] == tuning
    assert len({*tuning}) == len(CUTOFFS)
    assert entry["number"] == int(np.argmax(tuning))
    assert selected == [test[entry["number"]]]
