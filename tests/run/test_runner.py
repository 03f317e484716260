"""A run from start to end: what is reused and computed, which hooks are called, and which cases are tried again."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import heatproof_parts
from heatproof.batch import Batch
from heatproof.dataset import Tally
from heatproof.errors import DataError, HeatproofError, StoreError
from heatproof.plan.plan import make_plan
from heatproof.plan.sample_cache import first_readable
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.parquet import read_table
from heatproof.results.store import Run
from heatproof.run import batch_size, execution, runner
from heatproof.run.batch_size import measure_rows
from heatproof.run.execution import Observer, device_of
from heatproof.run.runner import run
from heatproof.testing.toys import Regions
from heatproof_parts import Images

Ran = Callable[..., Any]
TABLES = ("scores.parquet", "summary.csv", "comparisons.csv", "ranks.csv")


def content(folder: Path) -> dict[str, bytes]:
    """Every file of the units by its path."""
    kinds = ("predictions", "heatmaps", "scores")
    files = [path for kind in kinds for path in (folder / kind).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def test_a_run_again_computes_nothing_and_writes_the_same(ran: Ran, calls: Any) -> None:
    first = ran(metrics=["mass", "accuracy", "drop"])
    before = content(first.folder)
    written = tables(first.folder)
    assert calls("explain", "measure", "load")
    again = ran(metrics=["mass", "accuracy", "drop"])
    assert calls("explain", "measure", "load") == []
    assert content(again.folder) == before
    assert tables(again.folder) == written


def test_who_is_in_which_split_is_written(ran: Ran) -> None:
    """With the use that is made of each case; ``all`` is told apart by the dataset's own splits."""
    source = Images(count=16)

    def lines(**settings: Any) -> list[str]:
        head, *rows = (ran(**settings).folder / "splits.csv").read_text().splitlines()
        assert head == "dataset,split,case,patient,use"
        return rows

    def expected(split: str, use: str) -> list[str]:
        return [f"images,{split},{id},{source.patient(id)},{use}" for id in source.ids(split)]

    assert lines() == expected("test", "reported")
    everything = [{"use": "images", "count": 16}]
    assert lines(datasets=everything) == expected("tuning", "reported") + expected("test", "reported")
    filled = lines(datasets=everything, metrics=["filled"])
    assert filled == expected("tuning", "reported and tuning") + expected("test", "reported")
    assert lines(metrics=["filled"]) == expected("tuning", "tuning") + expected("test", "reported")


def test_what_a_dataset_leaves_out_is_told_and_refused_by_a_strict_run(
    ran: Ran, configured: Any, parts: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = [Tally("ids with two meanings", 2, 0, "b: table, lines 3 and 4"), Tally("missing images", 1, 0)]
    monkeypatch.setattr(Images, "rejected", lambda self: result)
    finished = ran()
    sentences = (
        "ids with two meanings in images: 2, such as b: table, lines 3 and 4",
        "missing images in images: 1",
    )
    assert finished.rejected == sentences
    assert all(f"rejected: {entry}" in (finished.folder / "log.txt").read_text() for entry in sentences)
    (dataset,) = json.loads((finished.folder / "provenance.json").read_text())["datasets"]
    assert [entry["count"] for entry in dataset["rejected"]] == [2, 1]
    with pytest.raises(DataError, match=r"ids with two meanings in images: 2, .*--strict"):
        run(configured(output="elsewhere"), parts, strict=True)
    assert not Path("elsewhere").exists()


def test_two_runs_of_one_config_are_the_same_bytes(ran: Ran, tmp_path: Path) -> None:
    settings = {"models": ["residual"], "explainers": ["slope", "layered"], "metrics": ["mass", "drop"]}
    first, second = (ran(output=str(tmp_path / name), **settings).folder for name in ("one", "two"))
    assert content(first) == content(second)
    assert tables(first) == tables(second)


def test_a_new_metric_reuses_the_heatmaps(ran: Ran, calls: Any) -> None:
    before = content(ran(explainers=["slope", "noted"]).folder)
    calls()
    finished = ran(explainers=["slope", "noted"], metrics=["mass", {"use": "mass", "scale": 2.0}])
    logged = calls("explain", "measure")
    assert [call for call in logged if call[0] == "explain"] == []
    assert {call[2] for call in logged} == {2.0}
    assert len(logged) == 24
    after = content(finished.folder)
    assert {path: after[path] for path in before} == before
    assert all(path.startswith("scores/") for path in set(after) - set(before))


def test_a_metric_of_the_store_loads_no_network(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    from heatproof.run import work

    ran()
    used: list[Any] = []
    monkeypatch.setattr(work, "Batch", lambda *arguments, **settings: used.append(arguments))
    assert ran(metrics=["mass", {"use": "mass", "scale": 2.0}]).failures == 0
    assert used == []


def test_a_new_explainer_computes_only_itself(ran: Ran, calls: Any) -> None:
    before = content(ran(explainers=["slope"]).folder)
    calls()
    finished = ran(explainers=["slope", {"use": "slope", "factor": 2.0}])
    logged = calls("explain", "measure")
    assert {call[1] for call in logged if call[0] == "explain"} == {2.0}
    assert len([call for call in logged if call[0] == "measure"]) == 8
    after = content(finished.folder)
    assert {path: after[path] for path in before} == before
    assert len(finished.summary) == 9


@pytest.mark.parametrize("change", [
    {"seed": 1}, {"datasets": [{"use": "images", "split": "test", "count": 16, "seed": 9}]},
    {"explainers": [{"use": "slope", "factor": 2.0}]}, {"models": ["linear"]},
])  # fmt: skip
def test_what_changes_the_numbers_is_computed_anew(ran: Ran, calls: Any, change: dict[str, Any]) -> None:
    ran()
    calls()
    ran(**change)
    assert sum(len(call[2]) for call in calls("explain")) == 8


def test_a_resumed_task_computes_with_the_layers_of_the_whole_plan(ran: Ran, calls: Any, tmp_path: Path) -> None:
    settings = {"models": ["residual"], "explainers": [{"use": "layered", "layer": "all"}, "slope"]}
    whole = ran(output=str(tmp_path / "whole"), **settings).folder
    calls()
    finished = ran(**settings)
    assert {tuple(call[3]) for call in calls("layers")} == {("block", "last", "stem")}
    store = Run(finished.folder)
    lost = [key for key in store.keys("heatmaps") if store.meta("heatmaps", key)["explainer"] == "layered(layer=stem)"]
    for key in lost:
        store.remove("heatmaps", key)
    ran(**settings)
    logged = calls("layers")
    assert {call[1] for call in logged} == {"stem"}
    assert {tuple(call[3]) for call in logged} == {("block", "last", "stem")}
    assert content(finished.folder) == content(whole)


def test_rows_are_measured_once_and_kept(ran: Ran, calls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    monkeypatch.setattr(batch_size, "measure_rows", lambda task, device: measured.append(task.model.short) or 4)
    finished = ran(rows="auto", models=["regions", "linear"])
    assert sorted(measured) == ["linear", "regions"]
    assert max(len(call[2]) for call in calls("explain")) == 4
    monkeypatch.setattr(batch_size, "measure_rows", lambda task, device: 1)
    ran(rows="auto", models=["regions", "linear"], seed=1)
    assert {len(call[2]) for call in calls("explain")} == {4}
    settled = [json.loads(path.read_text()) for path in (finished.folder / "execution").glob("rows-*/unit.json")]
    assert sorted((entry["model"]["use"], entry["rows"], entry["device"]) for entry in settled) == [
        ("heatproof-parts/linear", 4, "cpu"), ("heatproof-parts/regions", 4, "cpu")
    ]  # fmt: skip


def test_threads_are_settled_by_the_first_and_used(ran: Ran, calls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(execution.os, "sched_getaffinity", lambda process: range(3))
    ran(threads=None)
    monkeypatch.setattr(execution.os, "sched_getaffinity", lambda process: range(7))
    finished = ran(threads=None, seed=1)
    assert {call[5] for call in calls("explain")} == {3}
    (environment,) = json.loads((finished.folder / "provenance.json").read_text())["environments"]
    assert environment["threads"] == 3
    assert torch.get_num_threads() == before


def test_measured_rows_are_small_where_more_saves_nothing(
    parts: Any, configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task, *_) = make_plan(configured(), parts).tasks({})
    cost: dict[int, float] = {1: 1.0, 2: 1.2, 4: 2.3}
    monkeypatch.setattr("heatproof.run.batch_size.seconds_of_pass", lambda model, sample, rows, device: cost[rows])
    assert measure_rows(task, "cpu") == 2
    cost |= {2: 1.2, 4: 1.3}
    assert measure_rows(task, "cpu") == 4
    cost |= {2: 1.95, 4: 2.0}
    assert measure_rows(task, "cpu") == 1, "measuring stops at the first doubling that saves nothing"
    monkeypatch.undo()
    assert measure_rows(task, "cpu") in (1, 2, 4)


def test_rows_stop_where_memory_does(parts: Any, configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (task, *_) = make_plan(configured(), parts).tasks({})

    def seconds(model: Any, sample: Any, rows: int, device: str) -> float:
        if rows > 2:
            raise torch.OutOfMemoryError
        return 1.0

    monkeypatch.setattr("heatproof.run.batch_size.seconds_of_pass", seconds)
    assert measure_rows(task, "cpu") == 2


def test_a_model_that_cannot_run_gives_failed_rows(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(batch: Batch, *arguments: Any) -> Any:
        raise RuntimeError("no forward")

    monkeypatch.setattr(Batch, "forward", fail)
    finished = ran(rows="auto")
    assert {(row["explainer"], row["n_failed"]) for row in finished.summary} == {("slope", 8), ("random", 0)}


def test_the_first_sample_that_can_be_read(parts: Any, configured: Any) -> None:
    data = [{"use": "images", "split": "test", "count": 16, "unreadable": ["blob-008", "blob-009"]}]
    (task, *_) = make_plan(configured(datasets=data), parts).tasks({})
    sample = first_readable(task.source.dataset, Regions(), task.source.ids)
    assert sample is not None
    assert sample.id == "blob-010"


def test_hooks_are_called(ran: Ran, calls: Any) -> None:
    finished = ran(explainers=["slope", "noted"], seed=4)
    folder = str(finished.folder)
    logged = calls("started", "unit", "finished")
    assert logged[0] == ["started", folder, 4]
    assert logged[-1] == ["finished", folder, len(finished.summary), True]
    assert [call[0] for call in logged[1:-1]] == ["unit"] * 6
    assert {call[2] for call in logged[1:-1]} == Run(finished.folder).keys("heatmaps")
    assert all(call[3] for call in logged[1:-1])
    ran(explainers=["slope", "noted"], seed=4)
    assert [call[0] for call in calls("started", "unit", "finished")] == ["started", "finished"]


def test_a_hook_that_raises_stops_nobody(
    parts: Any, configured: Any, calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    names = ("run_started(folder, config)", "unit_finished(folder, unit)", "run_finished(folder, summary, results)")
    hooks = "".join(f"@hookimpl\ndef heatproof_{name}:\n    raise RuntimeError('no hook')\n" for name in names)
    (tmp_path / "stumbling_hooks.py").write_text("from heatproof.hooks import hookimpl\n" + hooks)
    monkeypatch.syspath_prepend(tmp_path)
    catalog = Catalog([
        Announcement("stumbling", "stumbling_hooks", "heatproof-stumbling", "1.0"),
        Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0"),
    ])  # fmt: skip
    with caplog.at_level(logging.WARNING, "heatproof"):
        finished = run(configured(), catalog)
    assert finished.complete
    assert finished.failures == 0
    assert finished.faults == ["heatproof-stumbling 1.0: its hook heatproof_run_finished raised RuntimeError: no hook"]
    assert finished.faults[0] in (finished.folder / "log.txt").read_text()
    assert [call[0] for call in calls("started", "unit", "finished")] == ["started", *["unit"] * 4, "finished"]
    assert caplog.text.count("no hook") == 6


class Watching(Observer):
    """An observer that notes everything."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps: list[str] = []
        self.begun: list[tuple[int, int]] = []
        self.advanced: list[tuple[int, int, str]] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def step(self, text: str) -> None:
        self.steps.append(text)

    def begin(self, units: int, done: int) -> None:
        self.begun.append((units, done))

    def advance(self, units: int, failures: int, text: str) -> None:
        self.advanced.append((units, failures, text))


def test_an_observer_is_told_how_it_goes(parts: Any, configured: Any) -> None:
    watching = Watching()
    settings = {"explainers": [{"use": "slope", "on": ["blob-009"]}]}
    run(configured(**settings), parts, watching)
    assert watching.begun == [(4, 0)]
    assert watching.advanced == [(2, 1, "images × regions, 4 samples"), (2, 0, "images × regions, 4 samples")]
    assert watching.stages == [
        "planning",
        "filling open settings from the tuning split",
        "writing tables",
        "writing the report",
    ]
    run(configured(**settings), parts, watching)
    assert watching.begun[1] == (4, 4)


def test_long_stages_say_how_far_they_are(parts: Any, configured: Any) -> None:
    watching = Watching()
    run(configured(explainers=["slope", "layered"], metrics=["filled"]), parts, watching)
    assert watching.steps == [
        *(f"filling open settings: {number} of 8 samples of images" for number in range(8)),
        *(f"writing tables: {number} of 3 combinations" for number in range(3)),
        *(f"writing tables: {number} of 3 comparisons with chance" for number in range(3)),
        *(f"writing tables: {number} of 3 pairs" for number in range(3)),
    ]


def test_a_shard_takes_its_share_and_the_last_one_finishes(ran: Ran, calls: Any, tmp_path: Path) -> None:
    settings = {"chunk": 2, "explainers": ["slope", "layered"], "metrics": ["mass", "filled"]}
    whole = ran(output=str(tmp_path / "whole"), **settings)
    calls()
    first = ran(shard=(1, 2), **settings)
    assert not first.complete
    logged = calls("explain", "finished")
    assert [call[2] for call in logged] == [["blob-008", "blob-009"], ["blob-012", "blob-013"]]
    assert {row["n_valid"] for row in first.summary} == {4}
    second = ran(shard=(2, 2), **settings)
    assert second.complete
    assert [call[0] for call in calls("finished")] == ["finished"]
    assert tables(second.folder) == tables(whole.folder)


def test_tables_are_written_again_if_another_shard_finished_meanwhile(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ran(output=str(tmp_path / "whole"), chunk=2)
    write = runner.write_scores
    other = []

    def slowly(store: Run, rows: Any) -> Any:
        columns = write(store, rows)
        if not other:
            other.append(True)
            other.append(ran(shard=(2, 2), chunk=2))
        return columns

    monkeypatch.setattr(runner, "write_scores", slowly)
    assert ran(shard=(1, 2), chunk=2).complete
    assert tables(whole.folder) == tables(other[1].folder)


def test_failed_cases_are_tried_again_only_when_asked(
    ran: Ran, calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ran(output=str(tmp_path / "whole"), metrics=["mass", "accuracy"], rows=1)
    note = heatproof_parts.note

    def unreadable(*values: Any) -> None:
        note(*values)
        if values == ("load", "blob-009"):
            raise OSError("the disk is away")

    with monkeypatch.context() as patched:
        patched.setattr(heatproof_parts, "note", unreadable)  # not the class, which would be another data set
        failed = ran(metrics=["mass", "accuracy", {"use": "mass", "scale": 2.0}], rows=1)
    assert failed.failures == 5, "one sample of two combinations under two metrics, and of one metric without heatmap"
    assert ran(metrics=["mass", "accuracy"], rows=1).failures == 3
    calls()
    healed = ran(metrics=["mass", "accuracy"], rows=1, retry=True)
    assert healed.failures == 0
    assert {id for call in calls("explain") for id in call[2]} == {f"blob-{index:03}" for index in range(8, 12)}
    assert tables(healed.folder) == tables(whole.folder)
    assert ran(metrics=["mass", "accuracy", {"use": "mass", "scale": 2.0}], rows=1).failures == 0
    assert ran(metrics=["mass", "accuracy"], rows=1, retry=True).failures == 0
    assert calls("explain") == []


def test_failed_scores_are_tried_again_without_their_heatmaps(
    ran: Ran, calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(heatproof_parts.Mass, "measure", lambda self, case: 1 / 0)
        assert ran(explainers=["slope"]).failures == 16
    calls()
    assert ran(explainers=["slope"], retry=True).failures == 0
    assert calls("explain") == []


def test_invalid_cases_are_not_tried_again(ran: Ran, calls: Any) -> None:
    explainers = [{"use": "slope", "fault": "nan", "on": ["blob-009"]}]
    assert ran(explainers=explainers).failures == 1
    calls()
    assert ran(explainers=explainers, retry=True).failures == 1
    assert calls("explain") == []


def test_what_killed_processes_left_is_swept(ran: Ran) -> None:
    finished = ran()
    from heatproof.results.partial import socket

    left = finished.folder / "heatmaps" / f".partial-{socket.gethostname()}-999999999-x"
    left.mkdir()
    ran()
    assert not left.exists()


def test_a_full_disk_stops_the_run_and_keeps_what_is_there(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    put = Run.put_maps
    written = []

    def full(self: Run, *arguments: Any) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(put(self, *arguments))

    with monkeypatch.context() as patched:
        patched.setattr(Run, "put_maps", full)
        with pytest.raises(StoreError, match="No space left on device; make room"):
            ran()
    folder = ran(metrics=[]).folder
    assert len(Run(folder).keys("heatmaps")) >= 2
    assert ran().complete


def test_the_config_in_the_run_gives_the_run_again(ran: Ran, parts: Any) -> None:
    from heatproof.config.settings import load

    finished = ran(explainers=[{"use": "slope", "factor": 2.0}], seed=3)
    before = tables(finished.folder)
    again = run(load(finished.folder / "config.yaml", parts), parts)
    assert again.folder == finished.folder
    assert tables(again.folder) == before


def test_skipped_combinations_are_kept_with_the_run(ran: Ran) -> None:
    finished = ran(explainers=["slope", "demanding"])
    assert [entry.explainer for entry in finished.skipped] == ["demanding"]
    (entry,) = json.loads((finished.folder / "skipped.json").read_text())["skipped"]
    assert entry["reason"].startswith("undefined because")


def test_a_device_that_is_not_there_is_refused(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(configured(device="auto")) == "cpu"
    with pytest.raises(HeatproofError, match="'cuda:1' is not available on this machine; use device: cpu or auto"):
        device_of(configured(device="cuda:1"))


def test_no_table_names_a_time_or_the_host(ran: Ran) -> None:
    import socket

    folder = ran().folder
    settings = " ".join(read_table(folder / "scores.parquet")["settings"].tolist())
    for text in (settings, *((folder / name).read_text() for name in TABLES[1:])):
        assert socket.gethostname() not in text.replace("regions", "")
    assert np.isfinite(ran().seconds["wall"])
