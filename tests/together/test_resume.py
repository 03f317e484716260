"""A run that is killed at any moment and resumed ends with the same bytes as an uninterrupted run."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from heatproof.results.parquet import read_table
from heatproof.results.store import Run

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
TABLES = ("scores.parquet", "summary.csv", "comparisons.csv", "ranks.csv")
Ask = Callable[..., Any]


def config(output: Path, **settings: Any) -> dict[str, Any]:
    """A small run with everything that a run stores: fitted settings, arrays, two models, failed cases."""
    return {
        "output": str(output), "datasets": [{"use": "images", "split": "test", "count": 24}], "device": "cpu",
        "models": ["residual", "swapped"], "metrics": ["mass", "filled", "accuracy", "drop"], "chunk": 4, "threads": 1,
        "explainers": ["slope", {"use": "layered", "layer": "all"}, "noted",
                       {"use": "slope", "factor": 2.0, "on": ["blob-013"], "fault": "nan"}],
        "statistics": {"resamples": 50, "permutations": 50}, "rows": 2, **settings,
    }  # fmt: skip


def environment(**changes: str) -> dict[str, str]:
    """The environment variables of a child process."""
    return os.environ | {"PYTHONPATH": str(FOLDER), "OMP_NUM_THREADS": "1"} | changes


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file to which the parts of all runs write their calls."""
    return tmp_path_factory.mktemp("calls") / "calls.jsonl"


@pytest.fixture(scope="module")
def ask(calls: Path) -> Iterator[Ask]:
    """Send a request to ``heatproof_killed.py``, which forks runs and kills them; returns its answer."""
    with subprocess.Popen(
        [sys.executable, str(FOLDER / "heatproof_killed.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment(HEATPROOF_PARTS_NOTES=str(calls)),
    ) as program:  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None

        def send(*request: Any) -> Any:
            program.stdin.write(json.dumps(request) + "\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        yield send
        program.stdin.close()


@pytest.fixture(scope="module")
def whole(ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An uninterrupted run, and its duration in seconds."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, seconds = ask("run", config(folder), None)
    assert code == 0
    return folder, seconds


def tables(folder: Path) -> dict[str, bytes]:
    """The bytes of each table of a run, by name."""
    return {name: (folder / name).read_bytes() for name in TABLES}


def units(folder: Path) -> dict[str, bytes]:
    """The bytes of each file of a run's units, by path."""
    paths: list[Path] = []
    for kind in ("predictions", "heatmaps", "scores"):
        paths.extend((folder / kind).rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


def assert_same(folder: Path, other: Path) -> None:
    """Assert that every table and every unit is the same, and that no partial file remains."""
    assert tables(folder) == tables(other)
    assert units(folder) == units(other)
    assert [*folder.rglob(".partial-*")] == []


STEPS = (["map", 3], ["rename", -5], ["rename", 8], ["table", 2], ["table", -7], ["text", 4], ["map", -2])
"""Moments in the middle of commits: a step and the number of its call, before (negative) or after (positive) it."""


def test_killed_in_the_middle_of_commits(ask: Ask, whole: tuple[Path, float], tmp_path: Path) -> None:
    for moment in STEPS:
        code, _ = ask("run", config(tmp_path / "run"), moment)
        assert code == -signal.SIGKILL
    assert ask("run", config(tmp_path / "run"), None)[0] == 0
    assert_same(tmp_path / "run", whole[0])


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments(ask: Ask, whole: tuple[Path, float], tmp_path: Path, seed: int) -> None:
    generator = random.Random(seed)
    reference, seconds = whole
    kills = 0
    folder = tmp_path / "run"
    while kills < 5:
        code, _ = ask("run", config(folder), generator.uniform(0.05, 0.3) * seconds)
        if code == -signal.SIGKILL:
            kills += 1
        else:
            kills = 0
        if code == 0:  # it ended before it was killed: start again
            shutil.rmtree(folder)
    assert ask("run", config(folder), None)[0] == 0
    assert_same(folder, reference)


@pytest.mark.parametrize("step", [["join", -1], ["join", 1], ["csv", 2], ["csv", -3]])
def test_killed_while_the_tables_are_written(
    ask: Ask, whole: tuple[Path, float], tmp_path: Path, step: list[Any]
) -> None:
    """The run starts with all units and without tables."""
    shutil.copytree(whole[0], tmp_path / "run")
    for name in TABLES:
        (tmp_path / "run" / name).unlink()
    assert ask("run", config(tmp_path / "run"), step)[0] == -signal.SIGKILL
    assert ask("run", config(tmp_path / "run"), None)[0] == 0
    assert_same(tmp_path / "run", whole[0])


def test_shards_at_once_share_a_folder(ask: Ask, whole: tuple[Path, float], tmp_path: Path) -> None:
    codes = ask("shards", config(tmp_path / "run"), 2)
    # A shard that ends before the others exits with 3: the run is not complete yet.
    assert set(codes) <= {0, 3}
    assert 0 in codes
    assert_same(tmp_path / "run", whole[0])


def test_shards_agree_on_measured_rows(ask: Ask, tmp_path: Path) -> None:
    """The first measurement of ``rows: auto`` counts for all shards, and a resumed run gives the same bytes."""
    folder = tmp_path / "run"
    ask("shards", config(folder, rows="auto"), 3)
    first_tables = tables(folder)
    first_units = units(folder)
    assert ask("run", config(folder, rows="auto"), None)[0] == 0
    assert tables(folder) == first_tables
    assert units(folder) == first_units
    measured = {json.loads(path.read_text())["rows"] for path in (folder / "execution").glob("rows-*/unit.json")}
    rows = json.loads((folder / "provenance.json").read_text())["rows"]
    assert set(rows.values()) == measured


def parallel(output: Path, **settings: Any) -> dict[str, Any]:
    """The config with an executor of two processes."""
    return config(output, executor={"use": "processes", "workers": 2}, **settings)


def test_a_killed_run_of_processes_leaves_no_worker_and_is_resumed(
    ask: Ask, calls: Path, whole: tuple[Path, float], tmp_path: Path
) -> None:
    """The parent is killed after the first scores are committed; its workers end, and another run continues."""
    calls.unlink(missing_ok=True)
    assert ask("run", parallel(tmp_path / "run"), "scores/*/unit.json")[0] == -signal.SIGKILL
    notes = [json.loads(line) for line in calls.read_text().splitlines()]
    workers = {note[3] for note in notes if note[0] == "explain"}
    deadline = time.monotonic() + 30
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ask("run", parallel(tmp_path / "run"), None)[0] == 0
    assert_same(tmp_path / "run", whole[0])


def alive(process: int) -> bool:
    """Whether a process runs; a zombie, with the state Z, does not."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # The state follows the name of the program, which stands in parentheses.
    state = text.rpartition(")")[2].split()[0]
    return state != "Z"


def test_a_sample_that_kills_its_worker_once_costs_nothing_and_always_costs_its_unit(ask: Ask, tmp_path: Path) -> None:
    """blob-012 kills its worker once. blob-016 always does: the four heatmaps of its unit fail alone."""
    explainers = [
        {"use": "slope", "on": ["blob-012"], "fault": "kill once", "at": str(tmp_path / "marker")},
        {"use": "slope", "factor": 2.0, "on": ["blob-016"], "fault": "kill"},
    ]
    settings = {"explainers": explainers, "models": ["residual"], "metrics": ["mass", "accuracy"]}
    assert ask("run", parallel(tmp_path / "run", **settings), None)[0] == 0
    assert (tmp_path / "marker").read_text() == "killed"
    table = read_table(tmp_path / "run" / "scores.parquet")
    rows = [dict(zip(table, values)) for values in zip(*table.values())]
    failures = [row for row in rows if row["status"] == "failed"]
    lost_cases = [f"blob-{index:03}" for index in range(16, 20)]
    # "" stands for the metric without heatmaps, and the random baseline is added.
    assert len({row["explainer"] for row in rows}) == 4
    assert sorted(row["case"] for row in failures) == lost_cases
    assert {"factor=2.0" in row["explainer"] for row in failures} == {True}
    (reason,) = {row["reason"] for row in failures}
    assert reason.startswith("its worker process died 2 times (signal 9, SIGKILL")
    assert {row["status"] for row in rows} == {"valid", "failed"}
    assert (tmp_path / "run" / "summary.csv").exists()


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The metadata that make the parts an installed plugin, in a folder for the path; returns that folder."""
    metadata = tmp_path / "site" / "heatproof_parts-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: heatproof-parts\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[heatproof]\nparts = heatproof_parts\n")
    return metadata.parent


def test_control_c_stops_a_run_with_advice_and_a_resumed_run_reuses_its_units(
    ask: Ask, tmp_path: Path, plugin: Path
) -> None:
    settings = {"explainers": [{"use": "slope", "seconds": 0.4}], "models": ["regions"], "metrics": ["mass"]}
    path = tmp_path / "config.yaml"
    run = Run(tmp_path / "run")
    YAML().dump(config(run.folder, **settings), path)
    command = [sys.executable, "-c", "from heatproof.cli.commands import main; main()", "run", str(path)]
    env = environment(PYTHONPATH=f"{plugin}{os.pathsep}{FOLDER}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as child:
        while not run.keys("scores"):
            assert child.poll() is None, child.communicate()
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130, (out, err)
    assert "run the same command again" in err.lower()
    assert "Traceback" not in out + err
    assert [*run.folder.rglob(".partial-*")] == []
    before = units(run.folder)
    assert ask("run", config(run.folder, **settings), None)[0] == 0
    after = units(run.folder)
    assert {name: after[name] for name in before} == before
    # 12 cases of the split, three measures of mass, slope and the random baseline.
    assert len(read_table(run.folder / "scores.parquet")["case"]) == 12 * 3 * 2
