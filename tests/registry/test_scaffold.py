"""Started plugins can be installed, pass their checks and their tests; samples land in another dataset's layout."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from heatproof.cli.commands import NEW_KINDS
from heatproof.cli.layouts import write_layout
from heatproof.config.components import settings_of
from heatproof.errors import ConfigError, DataError, HeatproofError
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import discover
from heatproof.registry.scaffold import scaffold
from heatproof_idrid.idrid import Idrid
from heatproof_kaggle_dr.kaggle_dr import KaggleDr
from heatproof_phantom.phantom import Phantom

ROOT = Path(__file__).resolve().parents[2]
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
SMALL = ("patients=10", "height=64")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One plugin of each kind."""
    into = tmp_path_factory.mktemp("started")
    for kind in NEW_KINDS:
        assert scaffold(kind, f"my_{kind}", into) == into / f"heatproof-my-{kind}"
    return into


@pytest.fixture(scope="module")
def site(started: Path) -> Path:
    """Where the started plugins are installed."""
    folders = [str(path) for path in sorted(started.glob("heatproof-*"))]
    subprocess.run([*PIP, "--target", str(started / "site"), *folders], check=True)
    return started / "site"


def test_files(started: Path) -> None:
    for kind in NEW_KINDS:
        folder = started / f"heatproof-my-{kind}"
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.is_file())
        assert files == [
            "README.md", "pyproject.toml", f"src/heatproof_my_{kind}/__init__.py",
            f"src/heatproof_my_{kind}/my_{kind}.py", f"tests/test_my_{kind}.py",
        ]  # fmt: skip
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert project["name"] == f"heatproof-my-{kind}"
        assert project["entry-points"] == {"heatproof": {f"my-{kind}": f"heatproof_my_{kind}"}}


def test_style(started: Path) -> None:
    for words in (["check", "--ignore", "D103"], ["format", "--check"]):
        done = subprocess.run(
            [Path(sys.executable).parent / "ruff", *words, "--config", ROOT / "pyproject.toml", "--no-cache", started],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


def test_installed_they_are_listed_and_pass_their_checks(
    site: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(site)
    found, broken = discover([str(site)])
    made = Catalog(found, broken)
    monkeypatch.setattr("heatproof.registry.catalog.default", lambda: made)
    assert made.verify() == ()
    for kind in NEW_KINDS:
        assert made.resolve(kind, f"my_{kind}").distribution == f"heatproof-my-{kind}"
        result = command("check", f"my_{kind}")
        assert result.exit_code == 0, result.output
        assert re.search(rf"^my_{kind} passes: \d\d of \d\d checks hold", result.stdout, re.MULTILINE)


def test_their_own_tests_pass(site: Path, started: Path) -> None:
    tests = [str(path) for path in sorted(started.glob("heatproof-*/tests"))]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *tests],
        cwd=started, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 40


@pytest.mark.parametrize("name", ["My_Method", "my-method", "1st", "class", "", "a b", "../x", "naïve"])
def test_names_that_cannot_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(HeatproofError, match="is no name for a component; use lower-case words joined by _"):
        scaffold("metric", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "heatproof-mine").mkdir()
    (tmp_path / "heatproof-mine/notes.txt").write_text("mine")
    with pytest.raises(HeatproofError, match=r"heatproof-mine is not empty; choose another name or folder"):
        scaffold("metric", "mine", tmp_path)
    assert (tmp_path / "heatproof-mine/notes.txt").read_text() == "mine"
    with pytest.raises(HeatproofError, match="a package heatproof_ecs is installed already; choose another name"):
        scaffold("metric", "ecs", tmp_path)


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HeatproofError, match=r"cannot write to .*file/heatproof-mine: Not a directory; make room, or"):
        scaffold("metric", "mine", tmp_path / "file")


def test_nothing_is_left_behind_by_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(HeatproofError, match=r"cannot write to .*: No space left on device; make room"):
        scaffold("metric", "mine", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_settings() -> None:
    assert settings_of(["a=1", "b.c=[x, 0.5]", "d=text", "e="]) == {
        "a": 1,
        "b": {"c": ["x", 0.5]},
        "d": "text",
        "e": None,
    }
    with pytest.raises(ConfigError) as caught:
        settings_of(["a", "=1", "b=[1"])
    assert len(str(caught.value).splitlines()) == 3


# layouts


def test_idrid_takes_what_is_not_for_tests_for_tuning(installed: Any, tmp_path: Path) -> None:
    assert write_layout(installed, "idrid", "phantom", SMALL, None, tmp_path / "idrid") == 20
    made = Idrid(root=tmp_path / "idrid")
    assert (len(made.ids("tuning")), len(made.ids("test"))) == (16, 4)


def test_kaggle_has_three_splits(installed: Any, tmp_path: Path) -> None:
    phantom = installed.create("dataset", "phantom", {"patients": 10, "height": 64})
    assert write_layout(installed, "kaggle_dr", "phantom", SMALL, None, tmp_path / "new/kaggle") == 20
    made = KaggleDr(root=tmp_path / "new/kaggle")
    for split in ("train", "tuning", "test"):
        assert made.ids(split) == phantom.ids(split)
    assert [made.load(id).label for id in made.ids("tuning")] == [phantom.grade(id) for id in phantom.ids("tuning")]


def test_one_split_only(installed: Any, tmp_path: Path) -> None:
    assert write_layout(installed, "idrid", "phantom", SMALL, "test", tmp_path / "idrid") == 4
    with pytest.raises(DataError, match="phantom has no split 'tset'; did you mean 'test'"):
        write_layout(installed, "idrid", "phantom", SMALL, "tset", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_download_is_not_overwritten(installed: Any, tmp_path: Path) -> None:
    (tmp_path / "idrid").mkdir()
    (tmp_path / "idrid/precious.jpg").touch()
    with pytest.raises(
        HeatproofError, match="is not empty; choose another name or folder, so that nothing is overwritten"
    ):
        write_layout(installed, "idrid", "phantom", SMALL, None, tmp_path / "idrid")
    assert (tmp_path / "idrid/precious.jpg").is_file()


def test_no_half_of_a_layout_is_left(installed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Any, id: str) -> Any:
        assert id in self.ids("train")
        if id == self.ids("train")[2]:
            assert len(list((tmp_path / "idrid").rglob("*.jpg"))) == 2
            raise DataError("the pen broke")
        return drawn(self, id)

    drawn = Phantom.load
    monkeypatch.setattr(Phantom, "load", load)
    with pytest.raises(DataError, match="the pen broke"):
        write_layout(installed, "idrid", "phantom", SMALL, None, tmp_path / "idrid")
    assert not (tmp_path / "idrid").exists()
