"""Explainers selected by a metric on one split and reported on another: candidates, what is frozen, and refusals."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from heatproof.config.settings import from_plain, resolved
from heatproof.errors import ConfigError, DataError
from heatproof.plan.plan import make_plan
from heatproof.results.finished import Results
from heatproof.results.parquet import read_table
from heatproof.results.ranking import rankings
from heatproof.results.store import Run
from heatproof_costs.estimate import estimates
from heatproof_parts import Mass

Ran = Callable[..., Any]
BY: Mapping[str, Any] = {"by": "mass", "on": "tuning"}
FACTORS = [-1.0, 1.0, 2.0]
CHOICE = {"use": "slope", "factor": FACTORS, "select": BY}


def data(split: str | None = "test", **settings: Any) -> list[dict[str, Any]]:
    return [{"use": "images", "count": 16, **settings} | ({"split": split} if split else {})]


def frozen(folder: Any) -> list[dict[str, Any]]:
    entries = YAML(typ="safe").load((folder / "selection.yaml").read_text()).values()
    return [entry for entry in entries if "candidates" in entry]


def values(finished: Any, measure: str = "value") -> dict[str, float]:
    """Explainer → its value in the summary."""
    return {row["explainer"]: row["value"] for row in finished.summary if row["measure"] == measure}


def test_the_best_candidate_on_the_tuning_split_is_reported(ran: Ran, tmp_path: Any) -> None:
    """Curve and result are those of plain runs with the settings written out."""
    listed = [{"use": "slope", "factor": factor} for factor in FACTORS]
    tuning = values(ran(explainers=listed, datasets=data("tuning"), output=str(tmp_path / "tuning")))
    test = values(ran(explainers=listed, output=str(tmp_path / "test")))
    names = ["slope(factor=-1.0)", "slope", "slope(factor=2.0)"]
    finished = ran(explainers=[CHOICE])
    (entry,) = frozen(finished.folder)
    assert [row["value"] for row in entry["candidates"]] == pytest.approx([tuning[name] for name in names], rel=1e-12)
    assert [row["settings"] for row in entry["candidates"]] == [{"factor": factor} for factor in FACTORS]
    best = int(np.argmax([tuning[name] for name in names]))
    assert (entry["number"], entry["selected"]) == (best, {"factor": FACTORS[best]})
    assert values(finished).keys() == {names[best], "random"}
    assert values(finished)[names[best]] == pytest.approx(test[names[best]], rel=1e-12)
    assert {row["flag"] for row in finished.summary} == {""}


def test_a_metric_of_which_less_is_better_selects_the_least(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mass, "higher_is_better", False)
    (entry,) = frozen(ran(explainers=[CHOICE]).folder)
    curve = [row["value"] for row in entry["candidates"]]
    assert entry["number"] == int(np.argmin(curve)) != int(np.argmax(curve))


def test_layers_are_candidates_too_and_the_first_of_equal_ones_wins(ran: Ran) -> None:
    """Layers scale the map alone, and the mass does not depend on its scale."""
    finished = ran(explainers=[{"use": "layered", "layer": "all", "name": "Layers", "select": BY}], models=["residual"])
    (entry,) = frozen(finished.folder)
    assert len(entry["candidates"]) > 2
    curve = [row["value"] for row in entry["candidates"]]
    assert curve == pytest.approx([curve[0]] * len(curve), rel=1e-6)
    assert entry["number"] == 0
    assert f"Layers(layer={entry['selected']['layer']})" in values(finished)


def test_what_is_frozen_is_used_again_without_the_candidates(ran: Ran, calls: Any) -> None:
    first = ran(explainers=[CHOICE])
    table = (first.folder / "scores.parquet").read_bytes()
    selection = (first.folder / "selection.yaml").read_bytes()
    tuning = {f"blob-{index:03}" for index in range(8)}
    store = Run(first.folder)
    for key in store.keys("heatmaps"):
        if {case["id"] for case in store.meta("heatmaps", key)["cases"]} <= tuning:
            store.remove("heatmaps", key)
    calls()
    again = ran(explainers=[CHOICE])
    assert calls("explain", "measure") == []
    assert (again.folder / "scores.parquet").read_bytes() == table
    assert (again.folder / "selection.yaml").read_bytes() == selection


def test_other_data_are_selected_on_again(ran: Ran) -> None:
    """A selection from samples of which one could be read, or a file that somebody copied here, is not used."""
    ran(explainers=[CHOICE])
    finished = ran(explainers=[CHOICE], datasets=data(unreadable=["blob-001"]))
    assert [entry["candidates"][0]["n_failed"] for entry in frozen(finished.folder)] == [1]
    (finished.folder / "selection.yaml").write_text("{}")
    assert len(frozen(ran(explainers=[CHOICE]).folder)) == 1
    assert "filled again" in (finished.folder / "log.txt").read_text()


@pytest.mark.parametrize("split", ["tuning", None])
def test_reported_samples_are_selected_on_only_with_a_flag(ran: Ran, parts: Any, split: str | None) -> None:
    with pytest.raises(DataError, match="slope is selected on split 'tuning' of images, of which 8 samples are also"):
        ran(explainers=[CHOICE], datasets=data(split))
    finished = ran(explainers=["noted", {**CHOICE, "select": {**BY, "reported": True}}], datasets=data(split))
    text = "factor of slope selected on the reported split (8 samples)"
    assert {row["flag"] for row in finished.summary} == {text}
    (ranking,) = rankings(Results(finished.folder, parts))
    assert ranking.common_flag == text


def test_a_remark_stands_once_for_all_networks(ran: Ran) -> None:
    choice = {**CHOICE, "select": {**BY, "reported": True}}
    other = {"use": "slope", "name": "seconds", "seconds": [0.0, 0.001], "select": {**BY, "reported": True}}
    finished = ran(explainers=[choice, other], models=["regions", "residual"], datasets=data("tuning"))
    texts = [f"{name} selected on the reported split (8 samples)" for name in ("factor of slope", "seconds of seconds")]
    assert {row["flag"] for row in finished.summary} == {"; ".join(texts)}


def test_tuning_and_test_are_reported_from_one_selection(ran: Ran) -> None:
    choice = {**CHOICE, "select": {**BY, "reported": True}}
    finished = ran(explainers=[choice], datasets=[*data("tuning"), *data("test")])
    assert len(frozen(finished.folder)) == 1
    flags = {row["split"]: row["flag"] for row in finished.summary if row["explainer"] != "random"}
    assert flags["test"] == ""
    assert "selected on the reported split" in flags["tuning"]


def test_a_candidate_that_failed_on_a_sample_is_not_selected(ran: Ran) -> None:
    """Else it would win by leaving out a difficult image."""
    hard = {**CHOICE, "factor": 1.0, "on": [["blob-001"], []]}
    (entry,) = frozen(ran(explainers=[hard]).folder)
    assert [row["n_failed"] for row in entry["candidates"]] == [1, 0]
    assert [row["eligible"] for row in entry["candidates"]] == [False, True]
    assert entry["selected"] == {"on": []}


def test_failed_candidates_are_tried_again_on_request(ran: Ran, calls: Any) -> None:
    hard = {**CHOICE, "factor": 1.0, "on": [["blob-001"], []]}
    first = ran(explainers=[hard])
    before = (first.folder / "selection.yaml").read_bytes()
    calls()
    ran(explainers=[hard])
    assert calls("explain") == []
    ran(explainers=[hard], retry=True)
    assert "blob-001" in {id for call in calls("explain") for id in call[2]}
    assert (first.folder / "selection.yaml").read_bytes() == before


def test_without_any_value_nothing_is_selected(ran: Ran) -> None:
    everywhere = [f"blob-{index:03}" for index in range(16)]
    with pytest.raises(
        DataError, match="cannot be selected by mass: none of its 2 candidates has a value of value on split tun"
    ):
        ran(explainers=[{**CHOICE, "factor": [1.0, 2.0], "on": everywhere}])


def test_a_single_candidate_is_refused(ran: Ran) -> None:
    with pytest.raises(ConfigError, match="slope on regions has one candidate to select from; give a setting a list"):
        ran(explainers=[{"use": "slope", "select": BY}])


def test_an_unknown_or_empty_split_is_refused(ran: Ran) -> None:
    with pytest.raises(DataError, match="split 'validation'"):
        ran(explainers=[{**CHOICE, "select": {"by": "mass", "on": "validation"}}])


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({**CHOICE, "select": {"by": "accuracy"}}, "explainers.0.select.by: accuracy measures no heatmaps"),
        ({**CHOICE, "select": {"by": "tuned"}}, "explainers.0.select.by: tuned fills level from the heatmaps"),
        ({**CHOICE, "select": {}}, "explainers.0.select.by: is missing"),
        ({**CHOICE, "select": "mass"}, "explainers.0.select: should be a mapping"),
        ({**CHOICE, "factor": ["high", 1.0]}, "explainers.0.factor: should be a number"),
        ({**CHOICE, "factr": 1.0}, "explainers.0.factr: unknown name"),
        ({**CHOICE, "factor": [0.0] * 40, "seconds": [0.0] * 40}, "would compare 1600 candidates, more than 1000"),
    ],
)  # fmt: skip
def test_mistakes_are_told_where_they_stand(configured: Any, entry: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(explainers=[entry])
    assert sentence in str(caught.value)


def test_a_metric_of_the_list_is_named_with_its_settings(configured: Any, parts: Any) -> None:
    config = configured(
        metrics=[{"use": "mass", "scale": 3.0, "name": "M"}], explainers=[{**CHOICE, "select": {"by": "M"}}]
    )
    (choice,) = config.explainers
    assert choice.select.by.params.scale == 3.0
    assert resolved(from_plain(resolved(config), parts)) == resolved(config)


def test_candidates_are_priced_and_listed(configured: Any, parts: Any) -> None:
    """Eight tuning images by three candidates, and eight test images by one of them and the baseline."""
    plan = make_plan(configured(explainers=[CHOICE]), parts)
    prices = estimates(plan)
    assert [(price.use, price.samples, price.heatmaps) for price in prices] == [
        ("reported", 8, 16),
        ("compared", 8, 24),
    ]
    assert {item.source.split for choice in plan.choices for item in choice.candidates} == {"tuning"}


def test_a_metric_is_selected_for_each_combination(ran: Ran) -> None:
    """By the measure that its entry names; all combinations stay in one ranking."""
    metric = {"use": "mass", "scale": [2.0, 3.0, 1.0], "select": {"by": "value"}}
    finished = ran(metrics=[metric], explainers=["slope", "noted"])
    entries = frozen(finished.folder)
    plain = values(ran(metrics=[{"use": "mass", "scale": 3.0}], explainers=["slope", "noted"]))
    assert values(finished) == plain
    assert sorted(entry["where"] for entry in entries) == ["random", "regions × noted", "regions × slope"]
    assert {entry["selected"]["scale"] for entry in entries} == {3.0}
    assert {row["metric"] for row in finished.summary} == {"mass"}
    assert all(np.isfinite(row["p_random"]) for row in finished.summary if not row["baseline"])


def test_a_metric_and_an_explainer_are_selected_in_one_run(ran: Ran) -> None:
    metric = {"use": "mass", "name": "scaled", "scale": [1.0, 3.0], "select": {}}
    by = {"use": "mass"}
    finished = ran(metrics=["mass", metric], explainers=[{**CHOICE, "select": {**BY, "by": by}}])
    kinds = sorted(entry["kind"] for entry in frozen(finished.folder))
    assert kinds == ["explainer", "metric", "metric"]
    assert {row["explainer"] for row in finished.summary} == {"slope", "random"}
    assert len({row["metric"] for row in finished.summary}) == 2


def test_a_measure_that_the_metric_has_not_is_refused(ran: Ran) -> None:
    with pytest.raises(DataError, match="none of its 2 candidates has a value of centre on split tuning"):
        ran(metrics=[{"use": "mass", "scale": [1.0, 3.0], "select": {"by": "centre"}}])


def test_a_metric_is_not_selected_on_what_is_reported(ran: Ran) -> None:
    metric = {"use": "mass", "scale": [1.0, 3.0], "select": {}}
    with pytest.raises(DataError, match="mass is selected on split 'tuning' of images, of which 8 samples"):
        ran(metrics=[metric], datasets=data(None))
    finished = ran(metrics=["drop", {**metric, "select": {"reported": True}}], datasets=data(None))
    flags = {row["metric"]: row["flag"] for row in finished.summary}
    assert flags == {"mass": "scale of mass selected on the reported split (8 samples)", "drop": ""}


@pytest.mark.slow
def test_shards_select_as_a_whole_run_does(ran: Ran, tmp_path: Any) -> None:
    whole = ran(explainers=[CHOICE])
    for number in (1, 2):
        parted = ran(explainers=[CHOICE], shard=(number, 2), output=str(tmp_path / "parted"))
    assert parted.complete
    for name in ("summary.csv", "selection.yaml"):
        assert (parted.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_the_scores_of_all_candidates_are_kept(ran: Ran) -> None:
    table = read_table(ran(explainers=[CHOICE]).folder / "candidates.parquet")
    assert len({*table["combination"]}) == 3
    assert {*table["split"]} == {"tuning"}
