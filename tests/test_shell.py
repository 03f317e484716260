"""Commands in messages: as the user can type them where the process was started."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from heatproof.shell import PLUGINS, UV_RUN, command

SCRIPT = Path(sys.executable).with_name("heatproof")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell without uv and without files of plugins."""
    for name in (PLUGINS, UV_RUN, "UV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_words_are_quoted() -> None:
    assert command("report", Path("my runs/first")) == "heatproof report 'my runs/first'"


@pytest.mark.parametrize("found", [True, False])
def test_under_uv_run(found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UV_RUN, "1")
    monkeypatch.setenv("UV", "/opt/uv tools/uv")
    monkeypatch.setattr("heatproof.shell.which", lambda name: name if found else None)
    assert shlex.split(command("list")) == ["uv" if found else "/opt/uv tools/uv", "run", "heatproof", "list"]


@pytest.mark.parametrize(
    ("on_path", "started", "program"),
    [(SCRIPT, SCRIPT, "heatproof"), (None, "bin/heatproof", "bin/heatproof"), (sys.executable, SCRIPT, str(SCRIPT))],
)
def test_a_script_that_is_not_on_the_path_is_written_as_it_was_typed(
    on_path: Path | None, started: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heatproof.shell.which", lambda name: on_path and str(on_path))
    monkeypatch.setattr(sys, "argv", [str(started)])
    assert command("list") == f"{program} list"


def test_files_of_plugins_follow_except_where_one_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PLUGINS, os.pathsep.join([str(tmp_path / "my net.py"), "/elsewhere/other.py"]))
    assert command("check", "x.yaml") == "heatproof check x.yaml --plugin 'my net.py' --plugin /elsewhere/other.py"
    assert command("new", "model", "mine") == "heatproof new model mine"


def test_a_printed_command_runs(tmp_path: Path) -> None:
    """A command that fails names another one, which works in the same shell."""
    (tmp_path / "empty.py").touch()
    shell = {"env": {**os.environ, "PATH": "/usr/bin:/bin"}, "shell": True, "capture_output": True, "text": True}
    refused = subprocess.run(f"{SCRIPT} list --plugin empty.py", check=False, **shell).stderr
    printed = refused.partition("`")[2].partition("`")[0]
    assert printed == f"{SCRIPT} new --help"
    assert "Usage: heatproof new" in subprocess.run(printed, check=True, **shell).stdout
