"""A finished run read back: tables as numbers, and a clear error for a folder that is no finished run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.errors import StoreError
from heatproof.registry.catalog import Catalog
from heatproof.results.finished import Results, read_rows
from heatproof.results.parquet import read_table

Ran = Callable[..., Any]


def test_summary_has_numbers(ran: Ran) -> None:
    finished = ran(explainers=[{"use": "slope", "on": ["blob-009"]}])
    rows = [row for row in read_rows(finished.folder / "summary.csv") if row["measure"] == "value"]
    slope, random = sorted(rows, key=lambda row: row["explainer"] == "random")
    table = read_table(finished.folder / "scores.parquet")
    mask = (table["explainer"] == slope["explainer"]) & (table["measure"] == "value") & (table["status"] == "valid")
    values = table["value"][mask]
    assert slope["value"] == pytest.approx(values.mean())
    assert (slope["n_valid"], slope["n_failed"]) == (7, 1)
    assert (slope["baseline"], random["baseline"]) == (False, True)
    assert np.isnan(random["p_random"])


def test_folder_that_is_no_run(tmp_path: Path, parts: Catalog) -> None:
    with pytest.raises(StoreError, match="not a run's folder"):
        Results(tmp_path, parts)
    (tmp_path / "config.yaml").write_text("output: here\n")
    with pytest.raises(StoreError, match="has not finished"):
        Results(tmp_path, parts)
    (tmp_path / "summary.csv").write_text("value,n_valid\n0.5,many\n")
    with pytest.raises(StoreError, match="changed or damaged since the run wrote it"):
        Results(tmp_path, parts)
