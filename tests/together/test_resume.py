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

HERE = Path(__file__).parent
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


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"} | more


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the calls of all runs."""
    return tmp_path_factory.mktemp("calls") / "calls.jsonl"


@pytest.fixture(scope="module")
def ask(calls: Path) -> Iterator[Ask]:
    """Sends a request to the program that forks runs and kills them."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "heatproof_killed.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment(HEATPROOF_PARTS_NOTES=str(calls)),
    ) as program:  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None

        def asked(*request: Any) -> Any:
            program.stdin.write(json.dumps(request) + "\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        yield asked
        program.stdin.close()


@pytest.fixture(scope="module")
def whole(ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An uninterrupted run, and its duration in seconds."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, seconds = ask("run", config(folder), None)
    assert code == 0
    return folder, seconds


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in TABLES}


def units(folder: Path) -> dict[str, bytes]:
    files = [path for kind in ("predictions", "heatmaps", "scores") for path in (folder / kind).rglob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


def same(folder: Path, other: Path) -> None:
    """Assert that every table and every unit is the same, and that no partial file remains."""
    assert tables(folder) == tables(other)
    assert units(folder) == units(other)
    assert [*folder.rglob(".partial-*")] == []


STEPS = (["map", 3], ["rename", -5], ["rename", 8], ["table", 2], ["table", -7], ["text", 4], ["map", -2])
"""Moments in the middle of commits: after the maps but before the case list, before and after a rename, and so on."""


def test_killed_in_the_middle_of_commits(ask: Ask, whole: tuple[Path, float], tmp_path: Path) -> None:
    for moment in STEPS:
        code, _ = ask("run", config(tmp_path / "run"), moment)
        assert code == -signal.SIGKILL
    assert ask("run", config(tmp_path / "run"), None)[0] == 0
    same(tmp_path / "run", whole[0])


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments(ask: Ask, whole: tuple[Path, float], tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    killed = 0
    folder = tmp_path / "run"
    while killed < 5:
        code, _ = ask("run", config(folder), draw.uniform(0.05, 0.3) * whole[1])
        if code == -signal.SIGKILL:
            killed += 1
        else:
            killed = 0
        if code == 0:  # it ended before it was killed: start again
            shutil.rmtree(folder)
    assert ask("run", config(folder), None)[0] == 0
    same(folder, whole[0])


@pytest.mark.parametrize("step", [["join", -1], ["join", 1], ["csv", 2], ["csv", -3]])
def test_killed_while_the_tables_are_written(
    ask: Ask, whole: tuple[Path, float], tmp_path: Path, step: list[Any]
) -> None:
    """All units exist, but not the tables."""
    shutil.copytree(whole[0], tmp_path / "run")
    for name in TABLES:
        (tmp_path / "run" / name).unlink()
    assert ask("run", config(tmp_path / "run"), step)[0] == -signal.SIGKILL
    assert ask("run", config(tmp_path / "run"), None)[0] == 0
    same(tmp_path / "run", whole[0])


def test_shards_at_once_share_a_folder(ask: Ask, whole: tuple[Path, float], tmp_path: Path) -> None:
    codes = ask("shards", config(tmp_path / "run"), 2)
    assert set(codes) <= {0, 3}
    assert 0 in codes
    same(tmp_path / "run", whole[0])


def test_shards_settle_measured_rows_together(ask: Ask, tmp_path: Path) -> None:
    """The first measurement decides for all shards: their parts match, and a resumed run gives the same bits."""
    ask("shards", config(tmp_path / "run", rows="auto"), 3)
    first = tables(tmp_path / "run")
    same_again = units(tmp_path / "run")
    assert ask("run", config(tmp_path / "run", rows="auto"), None)[0] == 0
    assert tables(tmp_path / "run") == first
    assert units(tmp_path / "run") == same_again
    settled = {
        json.loads(path.read_text())["rows"] for path in (tmp_path / "run" / "execution").glob("rows-*/unit.json")
    }
    rows = json.loads((tmp_path / "run" / "provenance.json").read_text())["rows"]
    assert set(rows.values()) == settled


def parallel(output: Path, **settings: Any) -> dict[str, Any]:
    return config(output, executor={"use": "processes", "workers": 2}, **settings)


def test_processes_give_the_same_and_survive_the_death_of_all(
    ask: Ask, calls: Path, whole: tuple[Path, float], tmp_path: Path
) -> None:
    """The parent is killed after the first commit; its workers end with it, and another run continues."""
    calls.unlink(missing_ok=True)
    assert ask("run", parallel(tmp_path / "run"), "scores/*/unit.json")[0] == -signal.SIGKILL
    workers = {call[3] for call in map(json.loads, calls.read_text().splitlines()) if call[0] == "explain"}
    deadline = time.monotonic() + 30
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ask("run", parallel(tmp_path / "run"), None)[0] == 0
    same(tmp_path / "run", whole[0])


def alive(process: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_worker_costs_nothing_and_a_deadly_sample_its_own_task(ask: Ask, tmp_path: Path) -> None:
    """One sample kills its worker once, another always: the rows of its task fail, and the run ends."""
    explainers = [
        {"use": "slope", "on": ["blob-012"], "fault": "kill once", "at": str(tmp_path / "marker")},
        {"use": "slope", "factor": 2.0, "on": ["blob-016"], "fault": "kill"},
    ]
    settings = {"explainers": explainers, "models": ["residual"], "metrics": ["mass", "accuracy"]}
    assert ask("run", parallel(tmp_path / "run", **settings), None)[0] == 0
    assert (tmp_path / "marker").read_text() == "killed"
    table = read_table(tmp_path / "run" / "scores.parquet")
    rows = [dict(zip(table, values)) for values in zip(*table.values())]
    failed = {(row["explainer"], row["case"]) for row in rows if row["status"] == "failed"}
    lost = [f"blob-{index:03}" for index in range(16, 20)]
    shown = {row["explainer"] for row in rows}
    assert len(shown) == 4
    assert failed == {(explainer, case) for explainer in shown for case in lost}
    reasons = {row["reason"] for row in rows if row["status"] == "failed"}
    assert reasons == {"its worker process died 2 times (killed, or out of memory)"}
    assert {row["status"] for row in rows} == {"valid", "failed"}
    assert (tmp_path / "run" / "summary.csv").exists()


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The parts as an installed plugin: a folder on the path with its metadata."""
    metadata = tmp_path / "site" / "heatproof_parts-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: heatproof-parts\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[heatproof]\nparts = heatproof_parts\n")
    return metadata.parent


def test_control_c_stops_cleanly_says_how_to_go_on_and_goes_on(ask: Ask, tmp_path: Path, plugin: Path) -> None:
    settings = {"explainers": [{"use": "slope", "seconds": 0.4}], "models": ["regions"], "metrics": ["mass"]}
    path = tmp_path / "config.yaml"
    run = Run(tmp_path / "run")
    YAML().dump(config(run.folder, **settings), path)
    command = [sys.executable, "-c", "from heatproof.cli.commands import main; main()", "run", str(path)]
    env = environment(PYTHONPATH=f"{plugin}{os.pathsep}{HERE}")
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
    assert len(read_table(run.folder / "scores.parquet")["case"]) == 12 * 3 * 2
