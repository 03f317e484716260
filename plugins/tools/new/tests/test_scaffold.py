"""New plugins can be installed, pass their checks and their tests; nothing is overwritten or left incomplete."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from heatproof.cli.commands import cli
from heatproof.errors import HeatproofError
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import discover
from heatproof.registry.files import snake_case
from heatproof_new.command import KINDS
from heatproof_new.scaffold import _words, component_file, component_name, scaffold

ROOT = Path(__file__).resolve().parents[4]
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One plugin of each kind."""
    into = tmp_path_factory.mktemp("started")
    for kind in KINDS:
        assert scaffold(kind, f"my_{kind}", into) == into / f"heatproof-my-{kind}"
    return into


@pytest.fixture(scope="module")
def site(started: Path) -> Path:
    """The folder in which the started plugins are installed."""
    folders = [str(path) for path in sorted(started.glob("heatproof-*"))]
    subprocess.run([*PIP, "--target", str(started / "site"), *folders], check=True)
    return started / "site"


def test_files(started: Path) -> None:
    for kind in KINDS:
        folder = started / f"heatproof-my-{kind}"
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.is_file())
        assert files == [
            "README.md", "pyproject.toml", f"src/heatproof_my_{kind}/__init__.py",
            f"src/heatproof_my_{kind}/my_{kind}.py", f"tests/test_my_{kind}.py",
        ]  # fmt: skip
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert project["name"] == f"heatproof-my-{kind}"
        assert project["dependencies"][0] == "heatproof>=0.1,<0.2"
        assert project["entry-points"] == {"heatproof": {f"my-{kind}": f"heatproof_my_{kind}"}}


def test_style(started: Path) -> None:
    for words in (["check", "--ignore", "D103"], ["format", "--check"]):
        result = subprocess.run(
            [Path(sys.executable).parent / "ruff", *words, "--config", ROOT / "pyproject.toml", "--no-cache", started],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout


@pytest.mark.slow
def test_installed_they_are_listed_and_pass_their_checks(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    catalog = Catalog(*discover([str(site)]))
    monkeypatch.setattr("heatproof.registry.catalog.default", lambda: catalog)
    assert catalog.verify() == ()
    for kind in KINDS:
        assert catalog.resolve(kind, f"my_{kind}").distribution == f"heatproof-my-{kind}"
        result = CliRunner().invoke(cli, ["check", f"my_{kind}"], prog_name="heatproof")
        assert result.exit_code == 0, result.output
        assert re.search(rf"^my_{kind} passes: \d\d of \d\d checks hold", result.stdout, re.MULTILINE)


@pytest.mark.slow
def test_their_own_tests_pass(site: Path, started: Path) -> None:
    tests = [str(path) for path in sorted(started.glob("heatproof-*/tests"))]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *tests],
        cwd=started, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert int(re.findall(r"(\d+) passed", result.stdout)[0]) > 40


@pytest.mark.parametrize("name", ["My_Method", "1st", "class", "", "a b", "../x", "naïve", "my_3d", "_x", "a__b", "a_"])
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(HeatproofError, match="cannot be the name of a component; use lower-case words that begin with"):
        component_name(name)


@pytest.mark.parametrize("name", ["my-method", "my_method2", "x"])
def test_the_class_of_a_file_is_registered_by_the_name(name: str) -> None:
    assert snake_case(_words("metric", component_name(name))["title"]) == name.replace("-", "_")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "heatproof-mine").mkdir()
    (tmp_path / "heatproof-mine/notes.txt").write_text("mine")
    with pytest.raises(HeatproofError, match=r"heatproof-mine is not empty; choose another name or folder"):
        scaffold("metric", "mine", tmp_path)
    assert (tmp_path / "heatproof-mine/notes.txt").read_text() == "mine"
    (tmp_path / "mine.py").write_text("mine")
    for name, message in (("mine", "mine.py exists already"), ("ecs", "heatproof-ecs registers the metric ecs already"),
                          ("torch", "a module torch is installed already")):  # fmt: skip
        with pytest.raises(HeatproofError, match=message):
            component_file("metric", name, tmp_path)
    assert (tmp_path / "mine.py").read_text() == "mine"
    with pytest.raises(HeatproofError, match="a package heatproof_ecs is installed already; choose another name"):
        scaffold("metric", "ecs", tmp_path)


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HeatproofError, match=r"cannot write to .*file/heatproof-mine: Not a directory; make room, or"):
        scaffold("metric", "mine", tmp_path / "file")
    with pytest.raises(HeatproofError, match=r"cannot write to .*file/mine.py: (Not a directory|File exists); make"):
        component_file("metric", "mine", tmp_path / "file")


def test_nothing_is_left_behind_by_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(HeatproofError, match=r"cannot write to .*: No space left on device; make room"):
        scaffold("metric", "mine", tmp_path)
    with pytest.raises(HeatproofError, match=r"cannot write to .*mine.py: No space left on device; make room"):
        component_file("metric", "mine", tmp_path)
    assert list(tmp_path.iterdir()) == []
