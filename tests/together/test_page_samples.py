"""The samples that the page reads from a finished run, cached or prepared anew, and errors for removed parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heatproof.errors import PluginError, StoreError
from heatproof.registry.catalog import Catalog
from heatproof.results.case_samples import prediction_units, prepare, prepared_sample
from heatproof.results.finished import Results
from heatproof.results.parquet import read_table
from heatproof.results.ranking import rankings
from heatproof_report.board import about

Ran = Callable[..., Any]


@pytest.mark.parametrize("cached", [True, False])
def test_a_case_is_what_the_model_saw(ran: Ran, parts: Catalog, calls: Any, tmp_path: Path, cached: bool) -> None:
    finished = ran(cache=str(tmp_path / "cache") if cached else False)
    results = Results(finished.folder, parts)
    settings = next(entry.settings for entry in rankings(results)[0].entries if not entry.baseline)
    case = read_table(finished.folder / "scores.parquet")["case"][0]
    dataset = results.component("dataset", settings["dataset"])
    fresh = prepare(dataset, results.component("model", settings["model"]), case)
    calls()
    sample = prepared_sample(results, prediction_units(results, settings, results.run.keys("heatmaps")), case)
    assert len(calls("load")) == int(not cached)
    assert sample.sample.image.tobytes() == fresh.sample.image.tobytes()
    assert (sample.original is None) == (fresh.original is None)


def test_what_was_removed_is_said(ran: Ran, parts: Catalog) -> None:
    results = Results(ran().folder, parts)
    (ranking,) = rankings(results)
    settings = {**ranking.entries[0].settings, "model": {"use": "heatproof-parts/other"}}
    with pytest.raises(StoreError, match="no predictions of heatproof-parts/other; run the same config again"):
        prediction_units(results, settings, results.run.keys("heatmaps"))
    with pytest.raises(PluginError, match="no metric is named 'other'"):
        about(results, "metric", "other")
    assert about(results, "metric", "mass").endswith(".")
