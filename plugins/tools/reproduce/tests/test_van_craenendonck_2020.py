"""The smoke profile of Van Craenendonck et al. 2020: all rows, figures and verdicts."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from heatproof.cli.commands import cli

FIGURES = ("figure-3", "figure-4", "figure-5", "best", "lrp-presets", "tuning-and-test", "by-grade", "sensitivity")


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_smoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path / "cache"))
    words = ["reproduce", "van-craenendonck-2020", "--profile", "smoke", "--output", str(tmp_path)]
    result = CliRunner().invoke(cli, words, prog_name="heatproof")
    assert result.exit_code == 0, result.output
    combined = [row for row in rows(tmp_path / "grid/summary.csv") if row["measure"] == "combined"]
    for split, count in (("tuning", 4), ("test", 2)):
        own = [row for row in combined if row["split"] == split]
        assert len(own) == 31
        assert all(row["low"] and row["high"] for row in own)
        assert {(row["n_valid"], row["n_failed"]) for row in own} == {(str(count), "0")}
    comparison = rows(tmp_path / "comparison.csv")
    assert len(comparison) > 30
    assert {row["verdict"] for row in comparison} == {"cannot be compared"}
    assert all(row["reason"] == "the data are a synthetic twin" for row in comparison if row["step"])
    assert len([row for row in comparison if row["misprint"]]) == 4
    for name in FIGURES:
        for suffix in ("png", "svg", "pdf", "csv"):
            assert (tmp_path / f"figures/{name}.{suffix}").stat().st_size > 100
    layers = [row for row in rows(tmp_path / "figures/figure-3.csv") if row["panel"] == "layers"]
    assert [len([row for row in layers if row["model"] == name]) for name in ("VGG16", "ResNet50", "InceptionV3")] == [
        13, 53, 94,
    ]  # fmt: skip
