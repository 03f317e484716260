"""Components that crash, hang or exit: only their own cases fail, with the reason; the others keep their bits."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.config.settings import from_plain
from heatproof.errors import ConfigError
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.parquet import read_table
from heatproof.results.store import Run
from heatproof.run.runner import run

CHUNKS = 2
SEGFAULT = "its worker process died 2 times (signal 11, SIGSEGV); the last thing it ran was "
Ran = Callable[..., Any]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """The parts, the hostile ones among them, and the executor with worker processes."""
    names = ("parts", "deadly", "processes")
    return Catalog([Announcement(name, f"heatproof_{name}", f"heatproof-{name}", "1.0") for name in names])


@pytest.fixture
def ran(catalog: Catalog, tmp_path: Path) -> Ran:
    """A function that runs a small config: eight images in two chunks."""

    def make(**settings: Any) -> Any:
        usual = {
            "output": str(tmp_path / "run"), "datasets": [{"use": "images", "split": "test", "count": 16}],
            "models": ["regions"], "explainers": ["slope", "hostile"], "metrics": ["mass"], "chunk": 8 // CHUNKS,
            "rows": 2, "threads": 1, "device": "cpu", "cache": False,
            "statistics": {"resamples": 50, "permutations": 50},
        }  # fmt: skip
        return run(from_plain({**usual, **settings}, catalog), catalog)

    return make


def processes(attempts: int = 2) -> dict[str, Any]:
    return {"use": "processes", "workers": 2, "attempts": attempts}


def hostile(fault: str) -> dict[str, str]:
    return {"use": "hostile", "fault": fault}


def judge(fault: str) -> dict[str, str]:
    return {"use": "judge", "fault": fault}


def reasons(folder: Path) -> dict[tuple[str, str], set[str]]:
    """(explainer, metric) → the reasons of its rows; empty text for a valid row."""
    table = read_table(folder / "scores.parquet")
    rows: dict[tuple[str, str], set[str]] = {}
    for explainer, metric, reason in zip(table["explainer"], table["metric"], table["reason"]):
        rows.setdefault((explainer.partition("(")[0], metric), set()).add(reason)
    return rows


def maps(folder: Path, explainer: str) -> dict[str, bytes]:
    """The bytes of every heatmap of an explainer, by unit and case."""
    store = Run(folder)
    result = {}
    for key in store.keys("heatmaps"):
        meta = store.meta("heatmaps", key)
        if meta["explainer"].startswith(explainer):
            result |= {f"{key}/{id}": values.tobytes() for id, values in zip(meta["ids"], store.maps(key))}
    return result


def test_a_hanging_explainer_fails_and_the_others_go_on(ran: Ran) -> None:
    finished = ran(explainers=["slope", hostile("sleep")], time_limit=3, chunk=8)
    late = "hostile took longer than the time_limit of 3 s"
    assert reasons(finished.folder) == {("slope", "mass"): {""}, ("hostile", "mass"): {late}, ("random", "mass"): {""}}
    assert finished.complete
    assert finished.failures == 8
    log = (finished.folder / "log.txt").read_text()
    assert f"hostile of blob-008: {late}" in log


@pytest.mark.slow
def test_a_hanging_metric_fails_and_the_others_go_on(ran: Ran) -> None:
    finished = ran(explainers=["slope"], metrics=["mass", judge("sleep")], time_limit=3, chunk=8)
    late = "judge took longer than the time_limit of 3 s"
    assert reasons(finished.folder) == {
        ("slope", "mass"): {""}, ("random", "mass"): {""}, ("slope", "judge"): {late}, ("random", "judge"): {late},
    }  # fmt: skip


@pytest.mark.slow
def test_a_unit_has_the_time_for_all_its_batches_together(ran: Ran) -> None:
    """Two batches of two seconds per unit: the second one exceeds three seconds."""
    finished = ran(explainers=[{"use": "slope", "seconds": 2}], time_limit=3)
    table = read_table(finished.folder / "scores.parquet")
    slope = table["explainer"].astype(str) != "random"
    late = "slope took longer than the time_limit of 3 s"
    assert dict(zip(table["case"][slope], table["reason"][slope])) == {
        f"blob-{index:03}": late if index % 4 > 1 else "" for index in range(8, 16)
    }


def test_a_time_limit_changes_no_number(ran: Ran, tmp_path: Path) -> None:
    with_limit = ran(time_limit=100).folder
    without = ran(output=str(tmp_path / "without")).folder
    assert (with_limit / "scores.parquet").read_bytes() == (without / "scores.parquet").read_bytes()


@pytest.mark.parametrize("value", [0, -1, "inf", "nan", True, "long"])
def test_a_time_limit_is_a_number_of_seconds(ran: Ran, value: Any) -> None:
    with pytest.raises(ConfigError, match="time_limit"):
        ran(time_limit=value)


@pytest.mark.slow
def test_a_segfault_costs_only_its_explainer(ran: Ran, tmp_path: Path) -> None:
    whole = ran(output=str(tmp_path / "whole"), explainers=["slope", "noted"]).folder
    explainers = ["slope", hostile("segfault"), "noted"]
    finished = ran(explainers=explainers, metrics=["mass", "accuracy"], executor=processes())
    assert reasons(finished.folder) == {
        ("slope", "mass"): {""}, ("noted", "mass"): {""}, ("random", "mass"): {""}, ("", "accuracy"): {""},
        ("hostile", "mass"): {f"{SEGFAULT}hostile(fault=segfault)"},
    }  # fmt: skip
    for explainer in ("slope", "noted", "random"):
        assert maps(finished.folder, explainer) == maps(whole, explainer)
    assert finished.failures == 8
    assert finished.complete
    log = (finished.folder / "log.txt").read_text()
    assert log.count("its parts run again, each alone") == CHUNKS


@pytest.mark.slow
def test_a_segfault_costs_only_its_metric(ran: Ran) -> None:
    finished = ran(explainers=["slope"], metrics=["mass", judge("segfault")], executor=processes(attempts=1))
    reason = SEGFAULT.replace("2 times", "1 times") + "judge(fault=segfault) on "
    assert reasons(finished.folder) == {
        ("slope", "mass"): {""}, ("random", "mass"): {""}, ("slope", "judge"): {f"{reason}slope"},
        ("random", "judge"): {f"{reason}random"},
    }  # fmt: skip


@pytest.mark.slow
def test_without_predictions_everything_of_the_task_fails(ran: Ran) -> None:
    models = ["regions", {"use": "crashing", "fault": "segfault"}]
    finished = ran(models=models, explainers=["slope"], executor=processes(attempts=1))
    table = read_table(finished.folder / "scores.parquet")
    crashed = np.char.startswith(table["model"].astype(str), "crashing") & (table["explainer"].astype(str) == "slope")
    (reason,) = set(table["reason"][crashed])
    assert "SIGSEGV); the last thing it ran was the prediction of crashing" in reason
    assert set(table["reason"][table["model"].astype(str) == "regions"]) == {""}


@pytest.mark.slow
def test_c_code_that_never_returns_is_ended(ran: Ran) -> None:
    finished = ran(explainers=["slope", hostile("spin")], chunk=8, time_limit=3, executor=processes())
    late = "hostile took longer than the time_limit of 3 s"
    assert reasons(finished.folder) == {("slope", "mass"): {""}, ("hostile", "mass"): {late}, ("random", "mass"): {""}}
    assert "in explain" in (finished.folder / "log.txt").read_text()
    assert [*finished.folder.glob(".*")] == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["exit 0", "_exit 0"])
def test_an_exit_in_a_worker_costs_only_its_explainer(ran: Ran, fault: str) -> None:
    finished = ran(explainers=["slope", hostile(fault)], executor=processes(attempts=1))
    result = reasons(finished.folder)
    assert result.pop(("hostile", "mass")) != {""}
    assert result == {("slope", "mass"): {""}, ("random", "mass"): {""}}


def test_the_timer_of_somebody_else_goes_on(ran: Ran) -> None:
    ran(explainers=["slope"], time_limit=100)
    assert signal.getitimer(signal.ITIMER_REAL)[0] < 301  # pytest-timeout's
