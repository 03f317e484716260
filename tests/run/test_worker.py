"""The work on a task: a fault of one sample fails that sample only, and its reason is recorded."""

import json
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import heatproof_parts
from heatproof.errors import HeatproofError
from heatproof.network.views import View
from heatproof.results.parquet import read_table
from heatproof.results.store import Run
from heatproof.run.predictions import _stored
from heatproof.testing.toys import Linear, Regions
from heatproof_parts import Images

IDS = [f"blob-{index:03}" for index in range(8, 16)]
Ran = Callable[..., Any]


def cases(folder: Path, explainer: str = "slope") -> dict[str, dict[str, Any]]:
    """What the heatmap units say of every case."""
    run = Run(folder)
    metas = [run.meta("heatmaps", key) for key in run.keys("heatmaps")]
    return {case["id"]: case for meta in metas if meta["explainer"].startswith(explainer) for case in meta["cases"]}


def maps(folder: Path, explainer: str = "slope") -> dict[str, np.ndarray]:
    """Every heatmap by case."""
    run = Run(folder)
    heatmaps = {}
    for key in run.keys("heatmaps"):
        meta = run.meta("heatmaps", key)
        if meta["explainer"].startswith(explainer):
            heatmaps |= dict(zip(meta["ids"], run.maps(key)))
    return heatmaps


def scores(folder: Path, explainer: str = "slope", metric: str = "mass") -> list[dict[str, Any]]:
    """The rows of scores.parquet of one combination and metric."""
    table = read_table(folder / "scores.parquet")
    rows = [dict(zip(table, values)) for values in zip(*table.values())]
    return [row for row in rows if row["explainer"].startswith(explainer) and row["metric"] == metric]


def statuses(folder: Path, measure: str = "value", **columns: str) -> dict[str, tuple[str, str]]:
    return {
        row["case"]: (row["status"], row["reason"]) for row in scores(folder, **columns) if row["measure"] == measure
    }


def counted(finished: Any) -> None:
    """Every row of the summary counts every case once."""
    for row in finished.summary:
        assert sum(row[f"n_{status}"] for status in ("valid", "failed", "excluded", "invalid")) == len(IDS)


def counts(finished: Any, explainer: str = "slope", measure: str = "value") -> tuple[int, ...]:
    (row,) = [row for row in finished.summary if row["explainer"].startswith(explainer) and row["measure"] == measure]
    return tuple(row[f"n_{status}"] for status in ("valid", "failed", "excluded", "invalid"))


def slope(**settings: Any) -> list[Any]:
    return [{"use": "slope", **settings}]


@pytest.fixture
def whole(ran: Ran, tmp_path: Path) -> dict[str, np.ndarray]:
    """The heatmaps of a run in which nothing goes wrong."""
    return maps(ran(output=str(tmp_path / "whole"), explainers=["slope"], metrics=[]).folder)


def test_a_heatmap_is_what_the_closed_form_says(ran: Ran) -> None:
    """On a linear model image × gradient is image × weight, read back from the store."""

    folder = ran(models=["linear"], targets=["right"], metrics=[]).folder
    model = Linear()
    weights = model.weights(1).numpy()
    for id, values in maps(folder).items():
        image = model.prepare(Images(count=16).load(id)).image
        assert values == pytest.approx((image * weights).max(0), abs=1e-6)


def test_scores_are_computed_from_the_stored_heatmap(ran: Ran) -> None:

    finished = ran()
    stored = maps(finished.folder)
    model = Regions()
    for row in scores(finished.folder):
        sample = model.prepare(Images(count=16).load(row["case"]))
        heat = np.maximum(stored[row["case"]].astype(float), 0)
        masks = {"left": sample.mask("left"), "right": sample.mask("right")}
        mask = masks.get(row["measure"], sum(masks.values()))
        assert row["value"] == pytest.approx((heat * mask).sum() / heat.sum(), rel=1e-12)
        assert row["heatmap"].startswith("heatmaps/")
        assert np.array_equal(
            Run(finished.folder).maps(row["heatmap"].split("/")[1], int(row["row"])), stored[row["case"]]
        )
        assert row["patient"] == sample.patient


def test_an_explainer_that_raises_fails_one_case(ran: Ran, whole: dict[str, np.ndarray]) -> None:
    finished = ran(explainers=slope(on=["blob-009"]), rows=4)
    assert statuses(finished.folder) == {id: ("valid", "") for id in IDS} | {
        "blob-009": ("failed", "ValueError: cannot explain this one")
    }
    assert cases(finished.folder)["blob-009"]["status"] == "failed"
    result = maps(finished.folder)
    assert np.isnan(result["blob-009"]).all()
    for id in set(IDS) - {"blob-009"}:
        assert result[id] == pytest.approx(whole[id], rel=1e-5, abs=1e-7)
    assert finished.failures == 1
    assert finished.complete
    assert counts(finished) == (7, 1, 0, 0)
    counted(finished)
    log = (finished.folder / "log.txt").read_text()
    assert "slope of blob-009: ValueError: cannot explain this one" in log
    assert "Traceback" in log


def test_with_one_row_per_pass_the_others_are_the_same_bits(ran: Ran, tmp_path: Path) -> None:
    single = maps(ran(explainers=slope(on=["blob-009"]), rows=1).folder)
    other = maps(ran(output=str(tmp_path / "other"), rows=1).folder)
    assert all(single[id].tobytes() == other[id].tobytes() for id in set(IDS) - {"blob-009"})


def test_a_heatmap_with_nan_is_invalid(ran: Ran, whole: dict[str, np.ndarray]) -> None:
    finished = ran(explainers=slope(on=["blob-010"], fault="nan"))
    assert statuses(finished.folder)["blob-010"] == ("invalid", "1 of 256 values of the heatmap are not finite")
    result = maps(finished.folder)
    assert all(result[id].tobytes() == whole[id].tobytes() for id in set(IDS) - {"blob-010"})
    assert counts(finished) == (7, 0, 0, 1)
    assert finished.failures == 1
    counted(finished)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("shape", r"returned shape \(1, 3, 16, 15\); allowed"), ("note", "the note 'steps' has type object")],
)
def test_a_plugin_that_breaks_its_word_fails_its_cases(ran: Ran, fault: str, reason: str) -> None:
    finished = ran(explainers=[*slope(on=IDS, fault=fault), "noted"])
    for status, why in statuses(finished.folder).values():
        assert status == "failed"
        assert re.search(reason, why)
    assert counts(finished) == (0, 8, 0, 0)
    assert counts(finished, "noted") == (8, 0, 0, 0)
    counted(finished)


def test_a_sample_that_cannot_be_read_fails_everywhere(ran: Ran, whole: dict[str, np.ndarray]) -> None:
    data = [{"use": "images", "split": "test", "count": 16, "unreadable": ["blob-008"]}]
    finished = ran(datasets=data, metrics=["mass", "accuracy"], rows=1)
    expected = ("failed", "blob-008 is truncated; download it again.")
    for explainer in ("slope", "random"):
        assert statuses(finished.folder, explainer=explainer)["blob-008"] == expected
        assert counts(finished, explainer) == (7, 1, 0, 0)
    assert statuses(finished.folder, explainer="", metric="accuracy")["blob-008"] == expected
    result = maps(finished.folder)
    assert all(result[id] == pytest.approx(whole[id], rel=1e-5, abs=1e-7) for id in set(IDS) - {"blob-008"})
    assert finished.failures == 3
    counted(finished)


def test_samples_of_which_none_can_be_read_are_failed_rows(ran: Ran) -> None:
    data = [{"use": "images", "split": "test", "count": 16, "unreadable": IDS}]
    finished = ran(datasets=data, metrics=["mass", "area", "accuracy"], rows="auto")
    assert {row["measure"] for row in finished.summary} == {"value", "auc"}
    assert all(row["n_failed"] == 8 and np.isnan(row["value"]) for row in finished.summary)
    assert finished.complete


def test_images_of_another_grid_fail_with_what_to_do(ran: Ran) -> None:
    finished = ran(models=["native"])
    odd = [id for id in IDS if int(id[-1]) % 2]
    result = statuses(finished.folder)
    assert {id for id, (status, _) in result.items() if status == "failed"} == set(odd)
    assert "native must prepare every image to one grid" in result[odd[0]][1]
    counted(finished)


def test_without_memory_for_a_batch_it_is_split_and_said(ran: Ran, whole: dict[str, np.ndarray]) -> None:
    finished = ran(explainers=slope(fault="memory"), rows=4)
    assert counts(finished) == (8, 0, 0, 0)
    assert {json.dumps(case["notes"]) for case in cases(finished.folder).values()} == {'{"split": "out of memory"}'}
    assert {row["notes"] for row in scores(finished.folder)} == {'{"split": "out of memory"}'}
    result = maps(finished.folder)
    for id in IDS:
        assert result[id] == pytest.approx(whole[id], rel=1e-5, abs=1e-7)


def test_without_memory_for_a_pass_it_goes_on_in_smaller_ones_and_says_so(
    ran: Ran, whole: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = View.__call__

    def cramped(view: View, images: torch.Tensor, *rest: Any, **settings: Any) -> Any:
        if len(images) > 2:
            raise torch.OutOfMemoryError("no room")
        return forward(view, images, *rest, **settings)

    monkeypatch.setattr(View, "__call__", cramped)
    finished = ran(rows=4)
    assert counts(finished) == (8, 0, 0, 0)
    assert {row["notes"] for row in scores(finished.folder)} == {'{"split": "out of memory"}'}
    result = maps(finished.folder)
    for id in IDS:
        assert result[id] == pytest.approx(whole[id], rel=1e-5, abs=1e-7)


def test_what_did_not_fit_is_free_when_the_halves_are_tried(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:

    large: list[Any] = []
    alive: list[int] = []

    def explain(self: Any, batch: Any) -> Any:
        alive.append(sum(reference() is not None for reference in large))
        memory = torch.zeros(4)
        large.append(weakref.ref(memory))
        if len(batch) > 1:
            raise torch.OutOfMemoryError(f"{len(memory)}")
        return batch.images

    monkeypatch.setattr(heatproof_parts.Slope, "explain", explain)
    assert ran(rows=4, metrics=[]).failures == 0
    assert alive == [0] * 14


def test_notes_and_kept_arrays_reach_the_store(ran: Ran) -> None:
    folder = ran(explainers=["noted"]).folder
    for id, case in cases(folder, "noted").items():
        assert case["notes"] == {"steps": 1 + int(id[-1]) % 3, "word": "done", "error": "inf"}
    assert all(json.loads(row["notes"])["word"] == "done" for row in scores(folder, "noted"))
    run = Run(folder)
    for key in run.keys("heatmaps"):
        meta = run.meta("heatmaps", key)
        if meta["explainer"] == "noted":
            arrays = run.maps(key, name="kept_scores.zarr")
            for id, values in zip(meta["ids"], arrays):
                assert values[~np.isnan(values)].tolist() == list(range(1 + int(id[-1]) % 3))


def test_a_metric_that_raises_fails_its_case(ran: Ran) -> None:
    finished = ran(metrics=[{"use": "mass", "on": ["blob-011"]}])
    assert statuses(finished.folder)["blob-011"] == ("failed", "ValueError: cannot measure this one")
    assert counts(finished) == (7, 1, 0, 0)
    assert counts(finished, measure="left") == (7, 1, 0, 0)
    assert finished.failures == 2  # slope and random
    counted(finished)


def test_an_undefined_case_is_excluded_and_no_failure(ran: Ran) -> None:
    finished = ran(metrics=[{"use": "mass", "on": ["blob-011"], "fault": "undefined"}])
    assert statuses(finished.folder)["blob-011"] == ("excluded", "nothing to see here")
    assert counts(finished) == counts(finished, measure="left") == (7, 0, 1, 0)
    assert finished.failures == 0
    counted(finished)


def test_one_undefined_measure_excludes_that_measure(ran: Ran) -> None:
    finished = ran(metrics=[{"use": "mass", "on": ["blob-011"], "fault": "nan"}])
    assert statuses(finished.folder, "left")["blob-011"] == ("excluded", "left is undefined for this case")
    assert statuses(finished.folder, "right")["blob-011"][0] == "valid"
    assert counts(finished, measure="left") == (7, 0, 1, 0)
    assert counts(finished, measure="right") == (8, 0, 0, 0)
    assert finished.failures == 0


def test_an_infinite_measure_is_invalid(ran: Ran) -> None:
    finished = ran(metrics=[{"use": "mass", "on": ["blob-011"], "fault": "inf"}])
    assert statuses(finished.folder, "left")["blob-011"] == ("invalid", "left is infinite")
    assert counts(finished, measure="left") == (7, 0, 0, 1)
    assert finished.failures == 2


@pytest.mark.parametrize("answer", [None, {}, {"value": "much"}, [1.0]])
def test_a_metric_that_breaks_its_word_fails_or_excludes(
    ran: Ran, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(heatproof_parts.Mass, "measure", lambda self, case: answer)
    finished = ran()
    assert counts(finished) == ((0, 0, 8, 0) if not answer else (0, 8, 0, 0))
    counted(finished)


def test_a_metric_that_cannot_summarise_spares_the_others(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(heatproof_parts.Area, "summarise", lambda self, measurements, counts: 1 / 0)
    finished = ran(metrics=["area", "mass"])
    rows = {(row["explainer"], row["metric"], row["measure"]): row for row in finished.summary}
    area = rows["slope", "area", "auc"]
    assert np.isnan(area["value"])
    assert area["flag"] == "area cannot summarise these cases (ZeroDivisionError: division by zero)"
    assert area["n_valid"] == 8
    assert rows["slope", "mass", "value"]["value"] > 0.5


def test_logits_that_are_not_finite_are_an_invalid_prediction(ran: Ran) -> None:
    finished = ran(models=["blind"], metrics=["mass", "accuracy"])
    for explainer, metric in (("slope", "mass"), ("", "accuracy")):
        result = statuses(finished.folder, explainer=explainer, metric=metric)
        assert result["blob-011"] == ("invalid", "the logits are not finite")
        assert result["blob-010"] == ("valid", "")
    assert statuses(finished.folder, explainer="random")["blob-011"][0] == "valid"
    counted(finished)


def stumbles(finished: Any) -> None:
    """Only the one case failed."""
    result = statuses(finished.folder)
    assert result.pop("blob-012") == ("failed", "RuntimeError: stumbled")
    assert {status for status, _ in result.values()} == {"valid"}
    counted(finished)


def test_inputs_that_cannot_be_made_of_one_sample_fail_that_one(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    def collate(self: Any, samples: Any) -> dict[str, Any]:
        if "blob-012" in [sample.id for sample in samples]:
            raise RuntimeError("stumbled")
        return {}

    monkeypatch.setattr(Regions, "collate", collate)
    stumbles(ran(rows=4))


def test_logits_that_cannot_be_read_fail_that_one(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Regions()
    read = Regions.read
    image = torch.from_numpy(model.prepare(Images(count=16).load("blob-012")).image)[None]
    bad = model.network(image).detach().numpy()[0]

    def stumble(self: Any, logits: Any) -> Any:
        if np.allclose(logits, bad):
            raise RuntimeError("stumbled")
        return read(self, logits)

    monkeypatch.setattr(Regions, "read", stumble)
    stumbles(ran(rows=4))


def test_targets_follow_the_prediction_the_label_and_the_name(ran: Ran, tmp_path: Path) -> None:
    """The swapped model has the classes in the other order: by name the same heatmaps come out."""

    def heat(model: str, target: Any) -> dict[str, np.ndarray]:
        output = str(tmp_path / f"{model}-{target}")
        return maps(ran(output=output, models=[model], targets=[target], metrics=[]).folder)

    for target in ("label", "left", "predicted"):
        first = heat("regions", target)
        second = heat("swapped", target)
        assert all(first[id] == pytest.approx(second[id], abs=1e-7) for id in IDS)
    label = heat("regions", "label")
    left = heat("regions", "left")
    assert [np.array_equal(label[id], left[id]) for id in IDS] == [True, False] * 4
    assert not np.array_equal(heat("regions", 0)["blob-008"], heat("swapped", 0)["blob-008"])


def test_a_sample_without_a_usable_label_is_excluded_or_failed(ran: Ran) -> None:
    data = [{"use": "images", "split": "test", "count": 16, "labels": {"blob-008": None, "blob-009": 7}}]
    finished = ran(datasets=data, targets=["label"])
    result = statuses(finished.folder)
    assert result["blob-008"] == ("excluded", "the sample has no single label to explain")
    assert result["blob-009"] == ("failed", "label 7 is outside the 2 classes of images")
    assert counts(finished) == (6, 1, 1, 0)


def test_one_of_several_labels_is_explained_where_it_is_given(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Images, "multilabel", True, raising=False)
    labels = {"blob-008": None, "blob-009": [0, 1], "blob-010": 7}
    data = [{"use": "images", "split": "test", "count": 16, "labels": labels}]
    finished = ran(datasets=data, targets=["label"])
    rows = {}
    for target in ("label=left", "label=right"):
        table = read_table(finished.folder / "scores.parquet")
        mask = table["target"] == target
        rows[target] = dict(zip(table["case"][mask], zip(table["status"][mask], table["reason"][mask])))
    for target in rows:
        name = target.removeprefix("label=")
        assert rows[target]["blob-008"] == ("excluded", f"the sample is not labelled {name!r}")
        assert rows[target]["blob-009"][0] == "valid"
        assert rows[target]["blob-010"][0] == "excluded"
    single = [case for case in rows["label=left"] if case > "blob-010"]
    assert all({rows[target][case][0] for target in rows} == {"valid", "excluded"} for case in single)


def test_predictions_are_stored_with_labels(ran: Ran) -> None:

    folder = ran(rows=1).folder
    model = Regions()
    run = Run(folder)
    tables = [read_table(run.unit("predictions", key) / "predictions.parquet") for key in run.keys("predictions")]
    rows = {
        row["case"]: row for table in tables for row in (dict(zip(table, values)) for values in zip(*table.values()))
    }
    assert sorted(rows) == IDS
    for id, row in rows.items():
        sample = model.prepare(Images(count=16).load(id))
        with torch.no_grad():
            logits = model.network(torch.from_numpy(sample.image)[None]).double()[0]
        assert row["logits"] == pytest.approx(logits.tolist(), rel=1e-5)
        assert row["probabilities"] == pytest.approx(logits.softmax(0).tolist(), rel=1e-5)
        assert row["decision"] == int(logits.argmax())
        assert row["label"].tolist() == [int(id[-3:]) % 2]


def test_a_stored_prediction_names_the_head_unless_the_model_reads_its_outputs_itself() -> None:
    class Reading(Regions):
        def read(self, logits: Any) -> Any:
            return super().read(-logits)

    row = {"status": "valid", "logits": [0.0, 1.0], "probabilities": [0.3, 0.7], "decision": 1}
    heads = [_stored(row, model).head for model in (Regions(), Reading())]
    assert heads == ["softmax", None]


def test_a_metric_may_ask_the_model(ran: Ran) -> None:

    finished = ran(metrics=["drop"], targets=["left"])
    stored = maps(finished.folder)
    model = Regions()
    for row in scores(finished.folder, metric="drop"):
        image = torch.from_numpy(model.prepare(Images(count=16).load(row["case"])).image)[None]
        black = image.clone()
        y, x = np.unravel_index(stored[row["case"]].argmax(), (16, 16))
        black[..., y, x] = 0
        with torch.no_grad():
            fall = model.network(image)[0, 0] - model.network(black)[0, 0]
        assert row["value"] == pytest.approx(float(fall), abs=1e-5)


def test_any_number_of_rows_gives_the_same_to_tolerance(ran: Ran, tmp_path: Path) -> None:
    single = ran(output=str(tmp_path / "one"), rows=1, models=["residual"])
    four = ran(output=str(tmp_path / "four"), rows=4, models=["residual"])
    left = maps(single.folder)
    right = maps(four.folder)
    for id in IDS:
        assert left[id] == pytest.approx(right[id], rel=1e-3, abs=1e-5)
    for a, b in zip(scores(single.folder), scores(four.folder)):
        assert a["value"] == pytest.approx(b["value"], rel=1e-3)


def test_what_explainers_share_is_freed_with_the_last_of_them(ran: Ran, calls: Any) -> None:
    """They run one after the other, whatever their order in the config, and find nothing kept of the others."""
    settings = [("one", 1.0), ("two", 1.0), ("one", 2.0), ("two", 2.0)]
    ran(explainers=[{"use": "sharing", "pair": pair, "factor": factor} for pair, factor in settings], rows=8, chunk=8)
    noted = calls("made", "sharing")
    assert [call[1:] for call in noted if call[0] == "made"] == [["one"], ["two"]]
    assert [call[1:] for call in noted if call[0] == "sharing"] == [
        ["one", 1.0, 0], ["one", 2.0, 1], ["two", 1.0, 0], ["two", 2.0, 1]
    ]  # fmt: skip


def test_two_reductions_share_one_explanation(ran: Ran, calls: Any) -> None:
    ran(reductions=["max", "sum", "l2"], metrics=[], rows=4)
    assert len(calls("explain")) == 2


@pytest.mark.parametrize("part", ["summarise_cases", "paired_test"])
def test_draws_beyond_the_memory_are_an_error_and_no_empty_values(
    ran: Any, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """What was measured is kept: the next run only computes the tables."""

    def exhaust(*_: Any, **__: Any) -> Any:
        raise MemoryError("Unable to allocate 3.49 TiB")

    with monkeypatch.context() as patched:
        patched.setattr(f"heatproof.results.summary.{part}", exhaust)
        with pytest.raises(HeatproofError, match="does not suffice for 50 resamples and 50 permutations; lower these"):
            ran()
    assert ran().summary
