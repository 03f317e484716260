"""Open settings: filled from the tuning split once, frozen, and flagged where that split is the reported one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from heatproof.errors import DataError, PluginError
from heatproof.plan.plan import make_plan
from heatproof.results.finished import Results
from heatproof.results.parquet import read_table
from heatproof.results.store import Run
from heatproof.run.selection import fill
from heatproof.testing.toys import Regions
from heatproof_parts import Filled, Images

Ran = Callable[..., Any]
TUNING = [f"blob-{index:03}" for index in range(8)]


def brightness(ids: list[str]) -> list[float]:
    """The mean over samples, a third of each channel's mean, written out."""
    model = Regions()
    dataset = Images(count=16)
    images = [model.prepare(dataset.load(id)).image.astype(np.float64) for id in ids]
    return [float(np.mean([image[channel].mean() / 3 for image in images])) for channel in range(3)]


def frozen(folder: Any) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load((folder / "selection.yaml").read_text()).values())


def flags(finished: Any) -> dict[str, str]:
    return {row["split"]: row["flag"] for row in finished.summary if row["explainer"] == "slope"}


def test_a_metric_is_filled_from_the_tuning_split(ran: Ran) -> None:
    finished = ran(metrics=["filled"])
    (entry,) = frozen(finished.folder)
    assert entry["filled"]["brightness"] == pytest.approx(brightness(TUNING), rel=1e-12)
    assert (entry["metric"], entry["split"], entry["samples"], entry["unreadable"]) == (
        "heatproof-parts/filled",
        "tuning",
        8,
        0,
    )
    settings = set(read_table(finished.folder / "scores.parquet")["metric_settings"])
    assert len(settings) == 1
    assert str(entry["filled"]["brightness"][0]) in settings.pop()
    assert flags(finished) == {"test": ""}


def test_what_is_frozen_is_used_again_to_the_last_bit(ran: Ran, calls: Any) -> None:
    first = ran(metrics=["filled"])
    scores = (first.folder / "scores.parquet").read_bytes()
    keys = Run(first.folder).keys("scores")
    assert len(calls("fit")) == 1
    again = ran(metrics=["filled"])
    assert calls("fit", "measure", "explain") == []
    assert Run(again.folder).keys("scores") == keys
    assert (again.folder / "scores.parquet").read_bytes() == scores


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-05, 5e-324, 1.7976931348623157e308, 1e22, 1 / 3, -0.0])
def test_numbers_survive_the_file(parts: Any, configured: Any, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Filled, "fit", lambda self, samples: self.with_(brightness=(np.float64(value), 2.0)))
    plan = make_plan(configured(metrics=["filled"]), parts)
    run = Run.create(configured().output)
    (metric,) = fill(plan, run).fitted.values()
    (reread,) = fill(plan, run).fitted.values()
    assert np.array(metric.params.brightness).tobytes() == np.array(reread.params.brightness).tobytes()
    assert np.array(metric.params.brightness).tobytes() == np.array([value, 2.0]).tobytes()
    assert metric.identity == reread.identity


def test_one_filling_serves_models_of_one_grid(ran: Ran, calls: Any) -> None:
    finished = ran(metrics=["filled"], models=["regions", "linear", "elsewhere"])
    assert len(calls("fit")) == 2
    assert len(frozen(finished.folder)) == 2


def test_values_that_are_given_are_not_filled(ran: Ran, calls: Any) -> None:
    finished = ran(metrics=[{"use": "filled", "brightness": [1.0]}])
    assert calls("fit") == []
    assert not (finished.folder / "selection.yaml").exists()


def test_a_split_that_was_used_for_filling_is_flagged_and_no_other(ran: Ran) -> None:
    entries = [{"use": "images", "split": split, "count": 16} for split in ("tuning", "test")]
    finished = ran(metrics=["filled"], datasets=entries)
    assert flags(finished) == {"tuning": "brightness filled on the reported split (8 samples)", "test": ""}


def test_all_samples_contain_the_tuning_split(ran: Ran) -> None:
    finished = ran(metrics=["filled"], datasets=[{"use": "images", "count": 16}])
    assert flags(finished) == {"all": "brightness filled on the reported split (8 samples)"}


def test_without_a_tuning_split_all_samples_fill(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Images, "tuning", None)
    finished = ran(metrics=["filled"])
    (entry,) = frozen(finished.folder)
    assert (entry["split"], entry["samples"]) == ("all", 16)
    assert flags(finished) == {"test": "brightness filled on the reported split (16 samples)"}


def test_samples_that_cannot_be_read_are_left_out_and_counted(ran: Ran) -> None:
    data = [{"use": "images", "split": "test", "count": 16, "unreadable": ["blob-002"]}]
    (entry,) = frozen(ran(metrics=["filled"], datasets=data).folder)
    assert (entry["samples"], entry["unreadable"]) == (7, 1)
    assert entry["filled"]["brightness"] == pytest.approx(brightness([id for id in TUNING if id != "blob-002"]))


def test_if_none_can_be_read_the_error_says_what_to_do(ran: Ran) -> None:
    data = [{"use": "images", "split": "test", "count": 16, "unreadable": TUNING}]
    with pytest.raises(PluginError, match=r"filled cannot fill brightness from images \(no sample in split tuning"):
        ran(metrics=["filled"], datasets=data)


def test_a_tuning_split_without_samples_is_named(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = Images.ids
    monkeypatch.setattr(Images, "ids", lambda self, split=None: [] if split == "tuning" else ids(self, split))
    with pytest.raises(DataError, match=r"^filled fills brightness from split tuning of images, which has no"):
        ran(metrics=["filled"])


def test_a_sentence_within_an_error_does_not_end_it(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(self: Filled, samples: Any) -> Filled:
        raise DataError("it is too dark.")

    monkeypatch.setattr(Filled, "fit", fit)
    with pytest.raises(PluginError, match=r"from images \(it is too dark\); set the values in the config, or leave"):
        ran(metrics=["filled"])


def test_a_metric_that_cannot_fill_is_one_sentence(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Filled, "fit", lambda self, samples: 1 / 0)
    with pytest.raises(
        PluginError, match=r"cannot fill brightness from images \(ZeroDivisionError: .*set the values in the config"
    ):
        ran(metrics=["filled"])


@pytest.mark.parametrize("text", ["a: [", "3", ""])
def test_a_damaged_selection_is_filled_again_and_this_is_said(ran: Ran, calls: Any, text: str) -> None:
    first = ran(metrics=["filled"])
    files = [first.folder / name for name in ("selection.yaml", "scores.parquet", "summary.csv")]
    before = [path.read_bytes() for path in files]
    calls()
    (first.folder / "selection.yaml").write_text(text)
    again = ran(metrics=["filled"])
    assert len(calls("fit")) == 1
    assert [path.read_bytes() for path in files] == before
    log = (again.folder / "log.txt").read_text()
    assert "its settings are filled again, since" in log
    assert "selection.yaml was changed or damaged since the run wrote it" in log


def test_a_damaged_selection_that_nothing_needs_any_more_is_emptied(ran: Ran, parts: Any) -> None:
    finished = ran(metrics=["filled"])
    (finished.folder / "selection.yaml").write_text("a: [")
    ran(metrics=["mass"])
    assert Results(finished.folder, parts).selection == {}
