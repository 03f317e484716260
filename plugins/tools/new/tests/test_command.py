"""The commands that ``heatproof new`` prints can be run unchanged."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from heatproof_new.command import install_command


@pytest.mark.slow
def test_the_printed_commands_install_and_check_from_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my plugins/heatproof-my-method"
    site = tmp_path / "site"
    script = Path(sys.executable).parent / "heatproof"
    words = ["new", "metric", "my_method", "--into", "my plugins"]
    output = subprocess.run([script, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    _, install, check = map(shlex.split, output.splitlines())
    assert install[-2:] == ["-e", str(folder)]
    offline = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(site), str(folder)]
    subprocess.run([*install[:-2], *offline], cwd="/", check=True)  # the environment of the tests does not change
    environment = {**os.environ, "PYTHONPATH": str(site)}
    result = subprocess.run(check, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "my_method passes" in result.stdout


def test_pip_installs_into_the_environment_of_this_python() -> None:
    *program, verb, option, folder = shlex.split(install_command("-e", "/a folder/my-method"))
    assert (verb, option, folder) == ("install", "-e", "/a folder/my-method")
    output = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"python {sys.version_info.major}.{sys.version_info.minor}" in output


@pytest.mark.parametrize("path", [None, "/opt/uv tools/uv"])
def test_uv_installs_where_there_is_no_pip(monkeypatch: pytest.MonkeyPatch, path: str | None) -> None:
    monkeypatch.setattr("heatproof_new.command.find_spec", lambda name: None)
    monkeypatch.delenv("UV", raising=False)
    if path:
        monkeypatch.setenv("UV", path)
    words = [path or "uv", "pip", "install", "--python", sys.executable, "zeal"]
    assert shlex.split(install_command("zeal")) == words
