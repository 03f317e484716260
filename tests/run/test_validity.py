"""Cases without a value: they are counted alike everywhere, and a run of which nothing is valid is an error."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heatproof.cli.display import ending
from heatproof.results.finished import Results
from heatproof.results.ranking import rankings
from heatproof.results.store import Run
from heatproof.run.runner import Finished
from heatproof.run.validity import Validity

IDS = tuple(f"blob-{index:03}" for index in range(8, 16))


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def write(**settings: Any) -> Path:
        usual = {
            "output": "run", "datasets": [{"use": "images", "split": "test", "count": 16}], "models": ["regions"],
            "explainers": ["slope"], "metrics": ["mass"], "chunk": 4, "rows": 2, "threads": 1, "device": "cpu",
            "statistics": {"resamples": 50, "permutations": 50}, "report": {"examples": 0},
        }  # fmt: skip
        (tmp_path / "config.yaml").write_text(json.dumps({**usual, **settings}))
        return tmp_path / "config.yaml"

    return write


def failing(metric: str, fault: str, on: tuple[str, ...] = IDS) -> dict[str, Any]:
    return {"use": metric, "on": on, "fault": fault}


@pytest.mark.parametrize(("settings", "reason"), [
    ({"metrics": [failing("mass", "raise")]}, "ValueError: cannot measure this one"),
    ({"metrics": [failing("mass", "undefined")]}, "nothing to see here"),
    ({"datasets": [{"use": "images", "split": "test", "count": 16, "unreadable": IDS}]}, "blob-008 is truncated"),
    ({"explainers": [failing("slope", "raise")]}, "ValueError: cannot explain this one"),
    ({"explainers": [failing("slope", "raise")], "metrics": []}, "ValueError: cannot explain this one"),
])  # fmt: skip
def test_a_run_without_a_valid_case_is_an_error_with_the_commonest_reason(
    command: Any, written: Callable[..., Path], tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    """The random heatmaps are valid where only the explainer fails; they alone are no result."""
    result = command("run", written(**settings))
    assert result.exit_code == 1
    assert re.search(rf"Error: nothing is valid: none of 8 cases .*: {reason}.* Tables: ", result.stderr)
    assert "No case failed" not in result.stdout
    for name in ("scores.parquet", "summary.csv", "comparisons.csv", "provenance.json"):
        assert (tmp_path / "run" / name).is_file()


def test_a_combination_without_a_valid_case_is_named_in_a_line(command: Any, written: Callable[..., Path]) -> None:
    result = command("run", written(explainers=["slope", failing("slope", "raise")], metrics=["mass"]))
    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if line.startswith("no valid case: ")]
    reason = "none of 8 cases has a value; the commonest reason, of 8: ValueError: cannot explain this one"
    assert [re.sub(r"slope\(.*\)", "slope(…)", line) for line in lines] == [
        f"no valid case: mass of regions × slope(…) on images, split test: {reason}"
    ]


def test_a_run_whose_predictions_fail_is_an_error(ran: Any) -> None:
    finished = ran(metrics=["accuracy"], explainers=[], datasets=[{"use": "images", "split": "test", "count": 16,
                   "labels": dict.fromkeys(IDS), "unreadable": IDS}])  # fmt: skip
    assert finished.validity.nothing.startswith("none of 8 cases has a value")


def test_a_valid_measure_is_enough(ran: Any) -> None:
    """The measure of the left side alone is NaN."""
    assert ran(metrics=[failing("mass", "nan")]).validity.nothing == ""
    assert ran().validity.nothing == ""
    assert ran(metrics=[]).validity.nothing == ""


@pytest.mark.parametrize("metrics", [
    [failing("mass", "raise", IDS[:3])],
    [failing("mass", "raise", IDS[:3]), "mass", "drop"],
    [failing("mass", "raise", IDS[:3]), failing("area", "", IDS[2:4])],
    [failing("mass", "inf", IDS[:2]), "accuracy"],
], ids=["one metric", "three metrics", "two failing", "another measure"])  # fmt: skip
def test_tables_and_last_line_count_the_same(parts: Any, ran: Any, metrics: list[dict[str, Any]]) -> None:
    for metric in metrics:
        if isinstance(metric, dict) and not metric["fault"]:
            del metric["fault"]
    finished = ran(metrics=metrics, explainers=["slope", failing("slope", "raise", IDS[:1])])
    rows = [entry.row for ranking in rankings(Results(finished.folder, parts)) for entry in ranking.entries]
    shown = sum(row["n_failed"] + row["n_invalid"] for row in rows)
    assert shown == finished.validity.ranking > 0
    table = Results(finished.folder, parts).query(
        "select distinct combination, metric_settings, \"case\" from scores where status in ('failed', 'invalid')"
    )
    assert finished.failures == len(table) >= shown
    assert f"failed cases {finished.failures};" in (Run(finished.folder).folder / "log.txt").read_text()


def test_the_last_line_names_failures_that_the_tables_do_not_show(tmp_path: Path) -> None:
    """The table ranks by one measure; a case that is invalid in another one only is counted, and named as such."""
    finished = Finished(tmp_path, 1, True, Validity(4, 1, (), ""), (), [])
    assert "metrics: 4, 3 of them only in measures that do not rank; scores.parquet says why" in ending(finished)
    finished.validity = Validity(4, 4, (), "")
    assert "metrics: 4; scores.parquet says why" in ending(finished)
