"""The whole way of a paper through the command, interruptions and bad input."""

import csv
import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from heatproof.cli.commands import cli
from heatproof.dataset import Tally
from heatproof_kaggle_dr.kaggle_dr import KaggleDr


def invoked(*words: object) -> Result:
    return CliRunner().invoke(cli, ["reproduce", *map(str, words)], prog_name="heatproof")


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_paper_runs_whole_and_again_in_seconds(toy: Path, tmp_path: Path) -> None:
    result = invoked("toy", "--profile", "smoke")
    assert result.exit_code == 0, result.output
    output = tmp_path / "runs/reproduce-toy-smoke"
    accuracy, photographs, grades = rows(output / "comparison.csv")
    [own] = [row for row in rows(output / "scores/summary.csv") if row["measure"] == "accuracy"]
    assert [accuracy[name] for name in ("value", "low", "high", "n")] == [
        own["value"], own["low"], own["high"], own["n_valid"],
    ]  # fmt: skip
    for row in (accuracy, photographs):
        assert (row["verdict"], row["reason"]) == ("cannot be compared", "the data are a synthetic twin")
        assert "synthetic twin of kaggle_dr, drawn by phantom" in row["data"]
    assert (grades["verdict"], grades["reason"]) == ("cannot be compared", "nothing of ours counts grades")
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "a &lt;toy&gt; runs" in page
    assert "http" not in re.sub(r'http-equiv|xmlns="[^"]*"', "", page)
    assert {path.name for path in (output / "figures").iterdir()} == {
        "bars.png", "bars.svg", "bars.pdf", "bars.csv",
    }  # fmt: skip
    assert "Synthetic data" in (output / "figures/bars.svg").read_text(encoding="utf-8")
    assert rows(output / "figures/bars.csv") == [{"value": own["value"], "n": own["n_valid"]}]

    checkpoint = (output / "net/checkpoint.safetensors").stat().st_mtime_ns
    before = {path: path.read_bytes() for path in output.rglob("*.csv")}
    again = invoked("toy", "--profile", "smoke")
    assert again.exit_code == 0, again.output
    assert "data write" not in again.output
    assert (output / "net/checkpoint.safetensors").stat().st_mtime_ns == checkpoint
    assert {path: path.read_bytes() for path in output.rglob("*.csv")} == before


def test_costs_are_stated_before_the_start_and_check_runs_nothing(toy: Path, tmp_path: Path) -> None:
    result = invoked("toy", "--profile", "smoke", "--check")
    assert result.exit_code == 0, result.output
    lines = {words[0]: words[1:] for line in result.output.splitlines() if len(words := line.split()) > 4}
    assert lines["net"][:2] == ["16", "12"]  # one epoch of 12 training samples, and 4 for validation
    assert lines["scores"][:2] == ["4", "0"]
    assert lines["all"][:2] == ["20", "12"]
    assert not (tmp_path / "runs/reproduce-toy-smoke/net").exists()


def test_an_interrupted_step_continues_with_the_same_command(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import heatproof.run.runner

    def interrupted(*arguments: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(heatproof.run.runner, "run", interrupted)
        result = invoked("toy", "--profile", "smoke", "--output", "out")
        assert result.exit_code == 130
        assert not Path("out/report.html").exists()
    assert invoked("toy", "--profile", "smoke", "--output", "out").exit_code == 0
    assert Path("out/report.html").is_file()


def test_a_failing_step_is_named_with_its_cause(toy: Path) -> None:
    (toy / "net.yaml").write_text((toy / "net.yaml").read_text().replace("objective: ordinal", "objective: ordnial"))
    result = invoked("toy", "--profile", "smoke")
    assert result.exit_code == 1
    assert "net.yaml" in result.output
    assert "ordnial" in result.output
    assert "Traceback" not in result.output


def test_a_checkpoint_of_another_network_is_refused(toy: Path) -> None:
    assert invoked("toy", "--profile", "smoke", "--output", "out").exit_code == 0
    other = (toy / "scores.yaml").read_text().replace("width: 0.02", "width: 0.04")
    (toy / "scores.yaml").write_text(other)
    result = invoked("toy", "--profile", "smoke", "--output", "out")
    assert result.exit_code == 1
    assert "step scores" in result.output
    assert "checkpoint.safetensors" in result.output


def test_a_checkpoint_of_another_order_of_classes_is_refused(toy: Path) -> None:
    assert invoked("toy", "--profile", "smoke", "--output", "out").exit_code == 0
    path = Path("out/net/checkpoint.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    [name] = [name for name, text in metadata.items() if "no_dr" in text and text.startswith("[")]
    metadata[name] = json.dumps(json.loads(metadata[name])[::-1])
    save_file(load_file(path), path, metadata)
    result = invoked("toy", "--profile", "smoke", "--output", "out")
    assert result.exit_code == 1
    assert "step scores" in result.output
    assert "the same classes in another order" in result.output


def test_a_full_disk_is_one_sentence(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*paths: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    result = invoked("toy", "--profile", "smoke")
    assert result.exit_code == 1
    assert "No space left on device; make room" in result.output


def test_unset_and_absent_data_say_where_they_are_to_be_had(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOY_DATA", raising=False)
    unset = invoked("toy", "--profile", "real").output
    monkeypatch.setenv("TOY_DATA", "nowhere")
    absent = invoked("toy", "--profile", "real").output
    assert "the environment variable TOY_DATA is not set" in unset
    assert f"{tmp_path / 'nowhere'} is not a folder" in absent
    for text in (unset, absent):
        assert "the shop of toys" in text
        assert "--profile twin" in text


def test_partial_data_say_what_is_there(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoked("toy", "--profile", "smoke", "--check", "--output", "out").exit_code == 0
    monkeypatch.setenv("TOY_DATA", "out/data/toy_data")
    text = invoked("toy", "--profile", "real").output
    assert "samples: 20 are there, 88702 are published" in text
    assert "the shop of toys" in text


def test_complete_data_are_checked_once(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoked("toy", "--profile", "smoke", "--check", "--output", "out").exit_code == 0
    monkeypatch.setenv("TOY_DATA", "out/data/toy_data")
    checks = []

    def counted(dataset: Any) -> list[Tally]:
        checks.append(dataset)
        return [Tally("samples", 20, 20)]

    monkeypatch.setattr(KaggleDr, "check", counted)
    for _ in range(2):
        result = invoked("toy", "--profile", "real", "--check", "--output", "real")
        assert result.exit_code == 0, result.output
    assert len(checks) == 1
    next(Path("out/data/toy_data").rglob("*.jpeg")).write_bytes(b"other")
    invoked("toy", "--profile", "real", "--check", "--output", "real")
    assert len(checks) == 2


def test_names_that_do_not_exist(toy: Path) -> None:
    assert "toy has no profile 'smokey'; did you mean 'smoke'?" in invoked("toy", "--profile", "smokey").output


def test_a_paper_that_does_not_exist() -> None:
    text = invoked("van-craenendonk-2020").output
    assert "there is no paper 'van-craenendonk-2020'; did you mean 'van-craenendonck-2020'" in text
