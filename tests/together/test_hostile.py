"""Hostile plugins: whatever one of them does, the rows of the others stay the same bytes, and it is named."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from heatproof.config.settings import from_plain
from heatproof.process_state import Process
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.parquet import read_table
from heatproof.run.runner import run
from heatproof_hostile import EXPLAINING, HARMLESS, MEASURING

Rows = list[dict[str, Any]]
SLOPE = {"use": "slope", "factor": 2.0}
CONFIG = {
    "datasets": [{"use": "images", "split": "test", "count": 8}], "models": ["residual"],
    "explainers": ["slope", "layered", SLOPE], "metrics": ["mass", "drop"],
    "chunk": 4, "rows": 2, "threads": 1, "device": "cpu", "cache": False,
    "statistics": {"resamples": 50, "permutations": 50},
}  # fmt: skip
IMPORTED = {"the filters of warnings of the process"}
"""What the imports of a first run change."""
OUTPUT = ("prints", "replaces_the_output", "closes_the_output", "closes_the_descriptors")
"""What is tried on the command line, in a process of its own."""


def catalog() -> Catalog:
    """The small components, and the hostile ones."""
    names = ("parts", "hostile")
    return Catalog([Announcement(name, f"heatproof_{name}", f"heatproof-{name}", "1.0") for name in names])


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Rows]:
    """Run a config and return the rows of its scores."""

    def rows(**settings: Any) -> Rows:
        folder = tmp_path_factory.mktemp("run") / "run"
        loaded = from_plain({**CONFIG, "output": str(folder), **settings}, catalog())
        before = Process()
        run(loaded, catalog())
        assert not set(before.changes()) - IMPORTED
        return table(folder)

    return rows


def table(folder: Path) -> Rows:
    columns = read_table(folder / "scores.parquet")
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


@pytest.fixture(scope="module")
def expected(scores: Callable[..., Rows]) -> Rows:
    """The rows without any hostile plugin."""
    rows = scores()
    assert {row["status"] for row in rows} == {"valid"}
    return rows


def others(rows: Rows) -> list[str]:
    """The rows of all other plugins, as text that shows every bit."""
    return [repr(row) for row in rows if "hostile" not in row["explainer"] and row["metric"] != "meddling"]


def culprits(rows: Rows) -> Rows:
    """The rows of the hostile plugin."""
    return [row for row in rows if "hostile" in row["explainer"] or row["metric"] == "meddling"]


QUICK = frozenset({
    "raises", "exits", "exits_at_once", "writes_gradients", "writes_images", "writes_layers", "writes_weights_as_data",
    "hooks_all_modules", "replaces_relu", "sets_the_dtype", "draws", "forgets_gradients",
})  # fmt: skip
"""One act of each kind, which the fast tests try."""


def acts(names: Iterable[str]) -> list[Any]:
    """Names of acts, of which only the quick ones are not marked slow."""
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(names)]


@pytest.mark.parametrize("act", acts(EXPLAINING.keys() - {*OUTPUT}))
def test_an_explainer_harms_no_other(act: str, scores: Callable[..., Rows], expected: Rows) -> None:
    """It runs between explainers that share gradients and layers with it."""
    harms_no_other(act, scores(explainers=["layered", {"use": "hostile", "act": act}, "slope", SLOPE]), expected)


@pytest.mark.parametrize("act", acts(act for act in EXPLAINING if "gradients" in act or "while" in act or "lay" in act))
def test_an_explainer_that_runs_first_harms_no_other(act: str, scores: Callable[..., Rows], expected: Rows) -> None:
    """It is the first to ask for the shared gradients."""
    harms_no_other(act, scores(explainers=[{"use": "hostile", "act": act}, "layered", "slope", SLOPE]), expected)


def harms_no_other(act: str, rows: Rows, expected: Rows) -> None:
    """The rows of the other plugins are the expected ones, and the culprit's say what it did."""
    assert others(rows) == others(expected)
    for row in culprits(rows):
        if act in HARMLESS:
            assert row["status"] == "valid", row["reason"]
        else:
            assert row["status"] == "failed"
            assert act in ("raises", "replaces_a_reduction") or "hostile" in row["reason"], row["reason"]


@pytest.mark.parametrize("act", sorted(MEASURING))
def test_a_metric_harms_no_other(act: str, scores: Callable[..., Rows], expected: Rows) -> None:
    rows = scores(metrics=[{"use": "meddling", "act": act}, "mass", "drop"])
    assert others(rows) == others(expected)
    assert {row["status"] for row in culprits(rows)} == {"failed"}
    for row in culprits(rows):
        assert "read-only" in row["reason"] or "meddling" in row["reason"], row["reason"]


COMMAND = """
import sys
sys.path.insert(0, {folder!r})
from heatproof.registry import catalog
from test_hostile import catalog as hostile
plugins = hostile()
catalog.default = lambda: plugins
from heatproof.cli.commands import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("act", OUTPUT)
def test_no_explainer_silences_the_command_line(act: str, tmp_path: Path, expected: Rows) -> None:
    """The tables appear on stdout and the run ends well, whatever happens to the streams."""
    explainers = ["layered", {"use": "hostile", "act": act}, "slope", SLOPE]
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({**CONFIG, "output": str(tmp_path / "run"), "explainers": explainers}))
    command = [sys.executable, "-c", COMMAND.format(folder=str(Path(__file__).parent)), "run", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "GARBAGE" not in ended.stdout
    assert "slope" in ended.stdout
    assert str(tmp_path / "run") in ended.stdout
    harms_no_other(act, table(tmp_path / "run"), expected)


def test_an_exit_in_a_dataset_fails_its_sample(scores: Callable[..., Rows], expected: Rows) -> None:
    rows = scores(datasets=[{"use": "leaving", "split": "test", "count": 8}])
    reasons = {row["reason"] for row in rows if row["case"].endswith("5")}
    assert reasons == {"leaving ended the process (SystemExit 0); let it return, or raise an error"}
    assert {row["status"] for row in rows if not row["case"].endswith("5")} == {"valid"}


def test_an_exit_in_a_preparation_fails_its_sample(scores: Callable[..., Rows], expected: Rows) -> None:
    rows = scores(models=["unprepared"])
    reasons = {row["reason"] for row in rows if row["case"].endswith("5")}
    assert reasons == {"unprepared ended the process (SystemExit os._exit(0)); let it return, or raise an error"}
    assert {row["status"] for row in rows if not row["case"].endswith("5")} == {"valid"}
