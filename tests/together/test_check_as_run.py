"""What `heatproof run` refuses before its first pass, `heatproof check` refuses with the same sentence."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from heatproof.dataset import Tally
from heatproof_parts import Images

IMAGES = {"use": "images", "split": "test", "count": 16}


@pytest.fixture
def both(command: Any, tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs and checks a config, and returns the error that both print."""

    def refused(*words: str, **settings: Any) -> str:
        usual = {"output": "run", "datasets": [IMAGES], "models": ["regions"], "explainers": ["slope"],
                 "metrics": ["mass"], "rows": 2, "threads": 1, "device": "cpu", "cache": False}  # fmt: skip
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps({**usual, **settings}))
        check, run = (command(name, path, *words) for name in ("check", "run"))
        assert (check.exit_code, run.exit_code) == (1, 1), check.output + run.output
        assert check.stderr.splitlines()[-1] == run.stderr.splitlines()[-1]
        assert "is valid." not in check.stdout
        return str(check.stderr)

    return refused


def test_a_device_that_is_not_there(both: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "device 'cuda' is not available on this machine" in both(device="cuda")


def test_a_tuning_split_without_samples(both: Callable[..., str]) -> None:
    error = both(datasets=[{**IMAGES, "count": 2}], metrics=["filled"])
    assert "filled fills brightness from split tuning of images, which has no sample" in error


@pytest.mark.parametrize("name", ["file", "file/run", "taken"])
def test_an_output_that_is_no_folder(both: Callable[..., str], tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "scores").write_text("")
    assert "Not a directory; make room, or choose another output folder" in both(output=name)


def test_an_output_that_may_not_be_written(both: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so the answer of the system is replaced."""

    def denied(**_: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("heatproof.results.store.TemporaryFile", denied)
    assert "run: Permission denied; make room, or choose another output folder" in both()


def test_a_limit_of_the_cache_that_is_no_number(both: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATPROOF_CACHE_LIMIT", "much")
    assert "HEATPROOF_CACHE_LIMIT is 'much'" in both(cache=True)


def test_a_patient_in_two_splits(both: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Images, "patient", lambda self, id: "one")
    assert "patient 'one' of images is in the splits" in both(metrics=["filled"])


def test_rejected_files_in_a_strict_run(both: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Images, "rejected", lambda self: [Tally("missing images", 1, 0)])
    assert "missing images in images: 1 (--strict)" in both("--strict")


def test_a_check_creates_nothing(command: Any, tmp_path: Path) -> None:
    settings = {"output": "deep/run", "datasets": [IMAGES], "models": ["regions"], "explainers": ["slope"],
                "metrics": ["filled"], "device": "cpu"}  # fmt: skip
    (tmp_path / "config.yaml").write_text(json.dumps(settings))
    assert command("check", tmp_path / "config.yaml").exit_code == 0
    assert not (tmp_path / "deep").exists()
