"""Subgroups of a run: what they compute again, and runs of shards, of earlier configs and of earlier versions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from heatproof.errors import ConfigError
from heatproof.results.parquet import PredictedCase, columns_of, write_table
from heatproof.results.store import Run
from heatproof.results.subgroups import NAMES

Ran = Callable[..., Any]
BY = ["label", "finding", "eye"]
FILES = [f"{name}.csv" for name in NAMES.values()]


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (*FILES, "summary.csv", "comparisons.csv", "ranks.csv")}


def units(folder: Path) -> dict[str, bytes]:
    kinds = ("predictions", "heatmaps", "scores")
    files = [path for kind in kinds for path in (folder / kind).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_adding_subgroups_computes_only_tables(ran: Ran, calls: Any, tmp_path: Path) -> None:
    folder = ran(metrics=["mass", "accuracy"]).folder
    before = units(folder)
    assert not any((folder / name).exists() for name in FILES)
    calls()
    assert ran(metrics=["mass", "accuracy"], by=BY).folder == folder
    assert calls("load", "explain", "measure") == []
    assert units(folder) == before
    added = tables(folder)
    fresh = ran(metrics=["mass", "accuracy"], by=BY, output=str(tmp_path / "fresh")).folder
    assert tables(fresh) == added
    ran(metrics=["mass", "accuracy"])
    assert not any((folder / name).exists() for name in FILES)


def test_shards_and_chunks_give_the_same_tables(ran: Ran, tmp_path: Path) -> None:
    whole = ran(by=BY, chunk=2).folder
    parted = {"by": BY, "chunk": 2, "output": str(tmp_path / "parted")}
    assert not ran(shard=(1, 2), **parted).complete
    assert ran(shard=(2, 2), **parted).complete
    assert tables(tmp_path / "parted") == tables(whole)
    assert tables(ran(by=BY, chunk=8, rows=2, output=str(tmp_path / "chunks")).folder) == tables(whole)


def test_predictions_say_which_findings_a_case_shows(ran: Ran) -> None:
    marks = {"absent": ["blob-009"], "unexamined": ["blob-010"], "unreadable": ["blob-011"]}
    folder = ran(datasets=[{"use": "images", "split": "test", "count": 16, **marks}]).folder
    rows = duckdb.sql(f"select \"case\", findings from '{folder}/predictions/*/predictions.parquet'").fetchall()
    findings = dict(rows)
    assert findings.pop("blob-009") == []
    assert findings.pop("blob-010") is None
    assert findings.pop("blob-011") is None
    assert set(map(tuple, findings.values())) == {("left", "right")}


def test_cases_in_no_group_are_counted(ran: Ran) -> None:
    marks = {"unexamined": ["blob-010"], "unreadable": ["blob-011"], "labels": {"blob-012": None}}
    finished = ran(datasets=[{"use": "images", "split": "test", "count": 16, **marks}], by=BY)
    sentences = (
        "by label: 2 of 8 cases of images are in no group",
        "by finding: 2 of 8 cases of images are in no group",
    )
    assert finished.ungrouped == sentences
    log = (finished.folder / "log.txt").read_text()
    assert all(sentence in log and f"{sentence}." in finished.remarks for sentence in sentences)


def test_predictions_of_an_earlier_version_are_computed_again(ran: Ran, calls: Any, tmp_path: Path) -> None:
    """They do not say which findings a case shows, and must not leave groups empty."""
    expected = tables(ran(by=BY, output=str(tmp_path / "new")).folder)
    folder = ran().folder
    store = Run.open(folder)
    for key in store.keys("predictions"):
        older = duckdb.read_parquet(str(store.unit("predictions", key) / "predictions.parquet")).fetchall()
        meta = {name: value for name, value in store.meta("predictions", key).items() if name != "digests"}
        store.remove("predictions", key)
        columns = {name: kind for name, kind in columns_of(PredictedCase).items() if name != "findings"}
        with store.commit("predictions", key, meta) as unit:
            write_table(unit / "predictions.parquet", columns, [row[:-1] for row in older])
    calls()
    ran()
    assert calls("load", "explain") == []
    ran(by=BY)
    assert calls("explain", "measure") == []
    assert tables(folder) == expected
    log = (folder / "log.txt").read_text()
    assert "predictions of an earlier version, without findings, are computed again: 2 units" in log


def test_an_unknown_name_is_refused_before_anything_is_written(ran: Ran, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"by names 'eyes', .*; did you mean 'eye'\?"):
        ran(by=["eyes"], output=str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
