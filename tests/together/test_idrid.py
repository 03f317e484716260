"""The example config of IDRiD on the 54 tuning images; skipped where they do not lie beside the checkout."""

import csv
from pathlib import Path
from statistics import stdev

import duckdb
import pytest

from heatproof.config.settings import load
from heatproof.registry.catalog import default
from heatproof.run.runner import run

ROOT = Path(__file__).resolve().parents[2]
IDRID = ROOT.parent / "shared" / "data" / "idrid"


@pytest.mark.slow
@pytest.mark.skipif(not IDRID.is_dir(), reason="IDRiD's tuning images are not beside the checkout")
def test_random_heatmaps_reach_chance_on_idrid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 54 run, and the mean ECS of random heatmaps lies within 3 standard errors of K / S² = 0.15."""
    monkeypatch.setenv("IDRID", str(IDRID))
    config = load(ROOT / "examples" / "idrid.yaml", default(), [f"output={tmp_path}/run"])
    finished = run(config, default())
    assert (finished.complete, finished.failures) == (True, 0)
    scores = duckdb.sql(
        f"select value from '{tmp_path}/run/scores.parquet' where explainer = 'random' and measure = 'combined'"
    ).fetchall()
    values = [value for (value,) in scores]
    assert len(values) == 54
    assert abs(sum(values) / 54 - 0.15) < 3 * stdev(values) / 54**0.5
    with open(tmp_path / "run" / "summary.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["measure"] == "combined" and row["model"]]
    assert len(rows) == 3
    assert all(float(row["p_random_holm"]) < 0.01 for row in rows), "a trained network beats chance"
