"""Settings that depend on heatmaps: tuned for each combination on the tuning split, never on what is reported."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from heatproof.errors import DataError, PluginError
from heatproof.plan.plan import make_plan
from heatproof.results.finished import Results
from heatproof.results.parquet import read_table
from heatproof.results.ranking import rankings
from heatproof.results.store import Run
from heatproof_costs.estimate import estimates
from heatproof_parts import Images, Tuned

Ran = Callable[..., Any]
TUNING = [f"blob-{index:03}" for index in range(8)]


def data(split: str | None = "test", **settings: Any) -> list[dict[str, Any]]:
    return [{"use": "images", "count": 16, **settings} | ({"split": split} if split else {})]


def frozen(folder: Any) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load((folder / "selection.yaml").read_text()).values())


def scores(finished: Any) -> dict[str, list[float]]:
    """Explainer → the values of its cases."""
    table = read_table(finished.folder / "scores.parquet")
    values: dict[str, list[float]] = {}
    for explainer, value in zip(table["explainer"], table["value"]):
        values.setdefault(explainer, []).append(value)
    return values


def test_each_combination_is_tuned_on_its_heatmaps_of_the_tuning_split(ran: Ran, tmp_path: Any, calls: Any) -> None:
    """The greatest heat of each tuning image is what a run that reports them measures with a level of 1."""
    plain = [{"use": "tuned", "level": 1.0}]
    tuning = scores(ran(metrics=plain, datasets=data("tuning"), output=str(tmp_path / "other")))
    reported = scores(ran(metrics=plain))
    calls()
    finished = ran(metrics=["tuned"])
    assert {id for _, id in calls("tune")} == {*TUNING}
    entries = {entry["heatmaps"].split(" × ")[-1]: entry for entry in frozen(finished.folder)}
    assert entries.keys() == tuning.keys() == {"slope", "random"}
    for explainer, entry in entries.items():
        assert entry["filled"] == {"level": pytest.approx(np.mean(tuning[explainer]), rel=1e-12)}
        assert (entry["split"], entry["samples"], entry["unreadable"]) == ("tuning", 8, 0)
        expected = np.array(reported[explainer]) / entry["filled"]["level"]
        assert scores(finished)[explainer] == pytest.approx(expected, rel=1e-12)
    assert {*read_table(finished.folder / "scores.parquet")["case"]}.isdisjoint(TUNING)


def test_combinations_with_other_values_are_compared(ran: Ran, parts: Any) -> None:
    """They are one family under the metric as it was before tuning, and have one ranking."""
    finished = ran(metrics=["tuned"], explainers=["slope", "noted"], chunk=8)
    table = read_table(finished.folder / "scores.parquet")
    assert len({*table["metric_settings"]}) == 3
    assert {*table["metric"]} == {"tuned"}
    rows = {row["explainer"]: row for row in finished.summary}
    assert np.isfinite([rows[name]["p_random"] for name in ("slope", "noted")]).all()
    results = Results(finished.folder, parts)
    assert len(results.comparisons) == 3
    (ranking,) = rankings(results)
    assert len(ranking.entries) == 3


def test_what_is_frozen_is_used_again_without_the_heatmaps(ran: Ran, calls: Any) -> None:
    first = ran(metrics=["tuned"], explainers=["noted"])
    table = (first.folder / "scores.parquet").read_bytes()
    store = Run(first.folder)
    for key in store.keys("heatmaps"):
        if {case["id"] for case in store.meta("heatmaps", key)["cases"]} <= {*TUNING}:
            store.remove("heatmaps", key)
    calls()
    again = ran(metrics=["tuned"], explainers=["noted"])
    assert calls("tune", "explain", "measure") == []
    assert (again.folder / "scores.parquet").read_bytes() == table


@pytest.mark.slow
def test_a_damaged_heatmap_is_explained_again(ran: Ran) -> None:
    first = ran(metrics=["tuned"])
    filled = frozen(first.folder)
    store = Run(first.folder)
    (first.folder / "selection.yaml").unlink()
    for key in store.keys("heatmaps"):
        if store.meta("heatmaps", key)["explainer"] == "slope":
            chunks = (store.unit("heatmaps", key) / "maps.zarr" / "c").rglob("*")
            next(chunk for chunk in chunks if chunk.is_file()).write_bytes(b"damaged")
    ran(metrics=["tuned"])
    assert frozen(first.folder) == filled
    assert "damaged" in (first.folder / "log.txt").read_text()


@pytest.mark.slow
def test_shards_tune_as_a_whole_run_does(ran: Ran, tmp_path: Any) -> None:
    whole = ran(metrics=["tuned"])
    for number in (1, 2):
        parted = ran(metrics=["tuned"], shard=(number, 2), output=str(tmp_path / "parted"))
    assert parted.complete
    assert (parted.folder / "summary.csv").read_bytes() == (whole.folder / "summary.csv").read_bytes()


@pytest.mark.parametrize(("split", "name"), [("tuning", "'tuning'"), (None, "'all'")])
def test_what_is_tuned_on_is_never_reported(ran: Ran, split: str | None, name: str) -> None:
    with pytest.raises(DataError, match=f"^tuned tunes level on heatmaps of other images than split {name} of images"):
        ran(metrics=["tuned"], datasets=data(split))


def test_without_a_tuning_split_nothing_is_tuned(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Images, "tuning", None)
    with pytest.raises(DataError, match="on a tuning split, which it has not; report another split, or set the values"):
        ran(metrics=["tuned"])


@pytest.mark.slow
def test_images_without_a_heatmap_are_left_out_and_counted(ran: Ran) -> None:
    for entry in frozen(ran(metrics=["tuned"], datasets=data(unreadable=["blob-002"])).folder):
        assert (entry["samples"], entry["unreadable"]) == (7, 1)
    with pytest.raises(PluginError, match=r"from images \(no sample of the tuning split has a heatmap by .*tried: 8"):
        ran(metrics=["tuned"], datasets=data(unreadable=TUNING))


def test_a_metric_that_cannot_tune_is_one_sentence(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tuned, "tune", lambda self, cases: 1 / 0)
    with pytest.raises(
        PluginError, match=r"^tuned cannot fill level from images \(ZeroDivisionError.*; set the values"
    ):
        ran(metrics=["tuned"])


def test_the_tuning_split_is_priced_once(configured: Any, parts: Any) -> None:
    datasets = [*data(), *data(ids=["blob-009"])]
    for metric, explained in (("mass", [8, 1]), ("tuned", [16, 1])):
        prices = estimates(make_plan(configured(metrics=[metric], datasets=datasets), parts))
        assert [price.samples for price in prices] == [8, 1]
        assert [price.heatmaps for price in prices] == [2 * count for count in explained]
        assert prices[0].forwards == explained[0] * prices[1].forwards
