"""The commands that ``heatproof new`` prints can be run unchanged."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from heatproof.cli.commands import cli
from heatproof_new.command import KINDS, install_command


@pytest.mark.slow
def test_the_printed_commands_install_and_check_from_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my plugins/heatproof-my-method"
    site = tmp_path / "site"
    script = Path(sys.executable).parent / "heatproof"
    words = ["new", "metric", "my-method", "--into", "my plugins", "--package"]
    output = subprocess.run([script, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    _, install, check = map(shlex.split, output.splitlines())
    assert install[-2:] == ["-e", str(folder)]
    offline = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(site), str(folder)]
    subprocess.run([*install[:-2], *offline], cwd="/", check=True)  # the environment of the tests does not change
    environment = {**os.environ, "PYTHONPATH": str(site)}
    result = subprocess.run(check, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "my_method passes" in result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_printed_config_and_commands_work_with_the_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"the_new_{kind}"
    output = CliRunner().invoke(cli, ["new", kind, f"the-new-{kind}", "--into", "my files"]).output
    first, config, last = output.split("\n\n")
    assert first.splitlines()[0] == f"created my files/{name}.py; next:"
    Path("config.yaml").write_text(config.partition("\n")[2])
    _, verb, *check = shlex.split(first.splitlines()[1])
    assert (verb, check) == ("check", [name, "--plugin", f"my files/{name}.py"])
    _, verb, *run = shlex.split(last.splitlines()[1])
    assert (verb, run) == ("run", ["config.yaml", "--plugin", f"my files/{name}.py"])
    planned = CliRunner().invoke(cli, ["plan", *run])
    assert planned.exit_code == 0, planned.output
    loaded = CliRunner().invoke(cli, ["show", *check])
    assert f"from {name} import TheNew{kind.title()}" in loaded.output


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
