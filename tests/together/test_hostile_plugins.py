"""Installed plugins that hang, exit or spoil the streams: the command line works on and names them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heatproof.errors import PluginError
from heatproof.testing.toys import Regions
from heatproof_parts import Images, Mass

COMMAND = "from heatproof.cli.commands import main; main()"
CONFIG = {
    "output": "run", "datasets": [{"use": "images", "split": "test", "count": 16}], "models": ["regions"],
    "explainers": ["slope"], "metrics": ["mass"], "threads": 1, "device": "cpu", "cache": False, "rows": 1,
    "statistics": {"resamples": 50, "permutations": 50},
}  # fmt: skip
AT_IMPORT = {
    "hang": ("import time; time.sleep(10**6)", "it is not imported and registered within 2 s; if it only needs"),
    "hang that catches errors": (
        "import time\nwhile True:\n    try:\n        time.sleep(10**6)\n    except Exception: pass",
        "it is not imported and registered within 2 s",
    ),
    "exit": ("import sys; sys.exit(0)", "hostile_plugin does not import: SystemExit: 0"),
    "_exit": ("import os; os._exit(0)", "hostile_plugin does not import: SystemExit: os._exit(0)"),
    "any error": ("raise BaseException('surprise')", "BaseException: surprise"),
    "exit after a closed stream": (
        "import sys; sys.stdout.close(); sys.stderr.close(); sys.exit(0)", "does not import: SystemExit: 0",
    ),
    "closed file descriptors": ("import os; os.close(1); os.close(2); os._exit(3)", "SystemExit: os._exit(3)"),
}  # fmt: skip
PRINTS = """
import os, sys
from heatproof.hooks import hookimpl
print("garbage")
os.write(1, b"garbage")
sys.stdout = None

@hookimpl
def heatproof_metrics():
    print("garbage")
    return {"loud": "hostile_plugin:Loud"}
"""
HOOK = """
import os, sys
from heatproof.hooks import hookimpl

@hookimpl
def {hook}():
    {action}
"""
Called = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def called(tmp_path: Path) -> Called:
    """A function that installs a plugin of this source besides the parts, and runs ``heatproof WORDS``."""
    for name in ("parts", "hostile_plugin"):
        info = tmp_path / f"heatproof_{name}-1.0.dist-info"
        info.mkdir()
        module = "heatproof_parts" if name == "parts" else name
        distribution = f"heatproof-{name}".replace("_", "-")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[heatproof]\n{name} = {module}\n")
    (tmp_path / "config.yaml").write_text(json.dumps(CONFIG))
    folders = os.pathsep.join([str(tmp_path), str(Path(__file__).parent)])
    environment = os.environ | {"PYTHONPATH": folders}

    def call(source: str, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "hostile_plugin.py").write_text(source)
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *words], cwd=tmp_path, env=environment | changes, capture_output=True,
            text=True, timeout=200, check=False,
        )  # fmt: skip

    return call


def broken(output: str) -> dict[str, str]:
    """The reasons of the broken plugins that ``list --json`` names, by distribution."""
    return {plugin["distribution"]: plugin["reason"] for plugin in json.loads(output)["broken"]}


@pytest.mark.slow
@pytest.mark.parametrize(("source", "reason"), AT_IMPORT.values(), ids=AT_IMPORT)
def test_a_plugin_that_does_not_import_is_set_apart(called: Called, source: str, reason: str) -> None:
    result = called(source, "list", "--json", HEATPROOF_IMPORT_LIMIT="2")
    assert result.returncode == 0
    assert reason in broken(result.stdout)["heatproof-hostile-plugin"]
    assert "phantom" in [entry["name"] for entry in json.loads(result.stdout)["components"]]


@pytest.mark.slow
def test_what_a_plugin_prints_goes_to_stderr(called: Called) -> None:
    result = called(PRINTS, "list", "--json")
    assert "loud" in [entry["name"] for entry in json.loads(result.stdout)["components"]]
    assert result.stderr.count("garbage") == 3


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf"])
def test_a_wrong_limit_is_an_error(called: Called, value: str) -> None:
    result = called("", "list", HEATPROOF_IMPORT_LIMIT=value)
    assert result.returncode == 1
    sentence = "it must be a number of seconds above 0."
    assert result.stderr == f"Error: the environment variable HEATPROOF_IMPORT_LIMIT is {value!r}; {sentence}\n"


@pytest.mark.slow
@pytest.mark.parametrize("words", [("run",), ("check",)], ids=["run", "check"])
def test_run_and_check_name_a_broken_plugin(called: Called, tmp_path: Path, words: tuple[str, ...]) -> None:
    result = called("import sys; sys.exit(0)", *words, "config.yaml")
    sentence = "heatproof-hostile-plugin 1.0: hostile_plugin does not import: SystemExit: 0"
    assert result.returncode == 0, result.stderr
    assert f"broken plugin, set apart: {sentence}" in result.stderr
    if words == ("run",):
        assert sentence in (tmp_path / "run" / "log.txt").read_text()
        (provenance,) = json.loads((tmp_path / "run" / "provenance.json").read_text())["environments"]
        assert provenance["plugins"]["heatproof-parts"] == "1.0"
        assert "heatproof-hostile-plugin" not in provenance["plugins"] | provenance["versions"]
        assert {plugin["distribution"]: plugin["reason"] for plugin in provenance["broken"]} == {
            "heatproof-hostile-plugin": "hostile_plugin does not import: SystemExit: 0"
        }
        assert provenance["versions"]["heatproof-parts"] == "1.0"


EXITS = {"exit": "sys.exit(0)", "_exit": "os._exit(0)"}
HOOKS = ("heatproof_run_started", "heatproof_unit_finished", "heatproof_run_finished", "heatproof_commands")


@pytest.mark.slow
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("action", EXITS.values(), ids=EXITS)
def test_no_exit_of_a_hook_ends_a_run_before_its_tables(called: Called, tmp_path: Path, hook: str, action: str) -> None:
    result = called(HOOK.format(hook=hook, action=action), "run", "config.yaml")
    assert (tmp_path / "run" / "summary.csv").is_file(), result.stderr
    assert result.returncode == (hook == "heatproof_run_finished")
    if hook == "heatproof_run_finished":
        assert "its hook heatproof_run_finished raised SystemExit" in result.stderr


PARTS = {
    "a dataset": (Images, "ids"), "rejected files": (Images, "rejected"), "a network": (Regions, "build"),
}  # fmt: skip


@pytest.mark.parametrize(("component", "method"), PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("leave", [lambda: sys.exit(0), lambda: os._exit(0)], ids=EXITS)
def test_no_exit_of_a_component_ends_a_run(
    ran: Any, monkeypatch: pytest.MonkeyPatch, component: type, method: str, leave: Callable[[], Any]
) -> None:
    monkeypatch.setattr(component, method, lambda self, *arguments, **settings: leave())
    with pytest.raises(PluginError, match=r"(ended|tried to end) the process \(SystemExit"):
        ran()


@pytest.mark.parametrize("leave", [lambda: sys.exit(0), lambda: os._exit(0)], ids=EXITS)
def test_an_exit_of_a_summary_is_a_remark_in_its_row(
    ran: Any, monkeypatch: pytest.MonkeyPatch, leave: Callable[[], Any]
) -> None:
    monkeypatch.setattr(Mass, "summarise", lambda self, *arguments: leave())
    assert all("mass ended the process (SystemExit" in row["flag"] for row in ran().summary)


def test_no_exit_of_a_component_that_is_created_ends_run_or_check_with_0(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(json.dumps(CONFIG))
    monkeypatch.setattr(Mass, "__init__", lambda self, **params: sys.exit(0))
    for name in ("run", "check"):
        result = command(name, tmp_path / "config.yaml")
        assert result.exit_code == 1
        assert "heatproof-parts/mass ended the process (SystemExit 0)" in result.stderr
