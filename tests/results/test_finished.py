"""A finished run read back: tables as numbers, cases from the cache or anew, and one sentence where it is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.errors import PluginError, StoreError
from heatproof.plan.sample_cache import prepare
from heatproof.registry.catalog import Catalog
from heatproof.results.finished import Results, read_rows
from heatproof.results.parquet import read_table
from heatproof.results.ranking import rankings

Ran = Callable[..., Any]


def test_summary_has_numbers(ran: Ran) -> None:
    finished = ran(explainers=[{"use": "slope", "on": ["blob-009"]}])
    rows = [row for row in read_rows(finished.folder / "summary.csv") if row["measure"] == "value"]
    slope, random = sorted(rows, key=lambda row: row["explainer"] == "random")
    table = read_table(finished.folder / "scores.parquet")
    chosen = (table["explainer"] == slope["explainer"]) & (table["measure"] == "value") & (table["status"] == "valid")
    values = table["value"][chosen]
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
    with pytest.raises(StoreError, match="cannot be read"):
        Results(tmp_path, parts)
    (tmp_path / "summary.csv").write_text("value,n_valid\n0.5,3\n")
    with pytest.raises(StoreError, match="earlier version"):
        Results(tmp_path, parts)


@pytest.mark.parametrize("cached", [True, False])
def test_a_case_is_what_the_model_saw(ran: Ran, parts: Catalog, calls: Any, tmp_path: Path, cached: bool) -> None:
    finished = ran(cache=str(tmp_path / "cache") if cached else False)
    results = Results(finished.folder, parts)
    settings = next(entry.settings for entry in rankings(results)[0].entries if not entry.baseline)
    case = read_table(finished.folder / "scores.parquet")["case"][0]
    dataset = results.component("dataset", settings["dataset"])
    fresh = prepare(dataset, results.component("model", settings["model"]), case)
    calls()
    sample = results.sample(settings, case)
    assert len(calls("load")) == (0 if cached else 1)
    assert sample.sample.image.tobytes() == fresh.sample.image.tobytes()
    assert (sample.photograph is None) == (fresh.photograph is None)


def test_what_was_removed_is_said(ran: Ran, parts: Catalog) -> None:
    results = Results(ran().folder, parts)
    (ranking,) = rankings(results)
    settings = {**ranking.entries[0].settings, "model": {"use": "heatproof-parts/other"}}
    with pytest.raises(StoreError, match="no predictions of heatproof-parts/other; run the same config again"):
        results.predictions(settings)
    with pytest.raises(PluginError, match="no metric is named 'other'"):
        results.about("metric", "other")
    assert results.about("metric", "mass").endswith(".")
