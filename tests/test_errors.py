"""What errors propose: near names, and a command that installs what is missing."""

import shlex
import subprocess
import sys

import pytest

from heatproof.errors import install_command, near


def test_near_names_and_the_allowed_ones() -> None:
    assert near("gradcm", ["gradcam", "gradient"]) == "did you mean 'gradcam'?"
    assert near("xyz", ["b", "a"]) == "allowed: a, b"
    assert near("xyz", []) == "allowed: none"


def test_pip_installs_into_the_environment_of_this_python() -> None:
    *program, verb, option, folder = shlex.split(install_command("-e", "/a folder/my-method"))
    assert (verb, option, folder) == ("install", "-e", "/a folder/my-method")
    done = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True)
    assert f"python {sys.version_info.major}.{sys.version_info.minor}" in done.stdout


@pytest.mark.parametrize("path", [None, "/opt/uv tools/uv"])
def test_uv_does_where_there_is_no_pip(monkeypatch: pytest.MonkeyPatch, path: str | None) -> None:
    monkeypatch.setattr("heatproof.errors.find_spec", lambda name: None)
    monkeypatch.delenv("UV", raising=False)
    if path:
        monkeypatch.setenv("UV", path)
    words = [path or "uv", "pip", "install", "--python", sys.executable, "zeal"]
    assert shlex.split(install_command("zeal")) == words
