"""Files of plugins: what ``--plugin`` and ``HEATPROOF_PLUGINS`` register, and which files are refused."""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from heatproof.cli.commands import cli
from heatproof.config.settings import from_plain, resolved
from heatproof.errors import PluginError
from heatproof.registry import catalog
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.registry.files import announcement
from heatproof.results.finished import Results
from heatproof.results.ranking import rankings
from heatproof.run.runner import run
from heatproof.shell import PLUGINS
from heatproof.source_files import refresh

EXECUTOR = """
from abc import abstractmethod
from heatproof.executor import Executor

class {name}(Executor):
    \"\"\"Runs nothing.\"\"\"
    def run(self, tasks, work, done, lost, threads):
        pass
"""
ABSTRACT = "\nclass Base(Executor):\n    @abstractmethod\n    def more(self): ...\n"
HOOK = "\nfrom heatproof.hooks import hookimpl\n\n@hookimpl\ndef {name}({arguments}):\n    {body}\n"
METRIC = """
from heatproof.metric import Metric

class MyShare(Metric):
    \"\"\"The share of positive values.\"\"\"
    higher_is_better = False
    def measure(self, case):
        return {"value": float((case.heatmap.values > 0).mean())}
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that writes a file of the temporary folder; what is imported from there is forgotten."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv(PLUGINS, raising=False)
    monkeypatch.chdir(tmp_path)

    def file(text: str, name: str = "my_part.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    yield file
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    catalog._default.cache_clear()
    refresh()


def invoked(*words: Any) -> Any:
    """Run a command of heatproof with the plugins that are installed."""
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="heatproof")


def listed(*words: Any) -> list[list[str]]:
    """The rows of ``heatproof list --json`` whose component is from a file."""
    result = invoked("list", "--json", *words)
    assert result.exit_code == 0, result.output
    rows = [[row["kind"], row["name"], row["distribution"]] for row in json.loads(result.stdout)["components"]]
    return [row for row in rows if row[2].endswith(".py")]


def test_concrete_classes_that_a_file_defines_are_registered_in_snake_case(write: Write) -> None:
    names = (EXECUTOR.format(name=name) for name in ("MyPart", "_Hidden"))
    path = write("".join([*names, ABSTRACT, "\nAlias = MyPart\n"]))
    entries = [entry for entry in Catalog([announcement(path)]).entries if entry.distribution == "my_part.py"]
    assert [(entry.kind, entry.name, entry.target) for entry in entries] == [("executor", "my_part", "my_part:MyPart")]
    component = Catalog([announcement(path)]).create("executor", "my_part.py/my_part", {})
    assert component.name == "my_part.py/my_part"


def test_a_hook_of_the_file_names_its_classes_and_other_hooks_take_part(write: Write) -> None:
    text = EXECUTOR.format(name="MyPart")
    text += HOOK.format(name="heatproof_executors", arguments="", body="return {'mine': 'my_part:MyPart'}")
    text += HOOK.format(name="heatproof_commands", arguments="cli", body="cli.add_command(cli.commands['list'], 'all')")
    parts = Catalog([announcement(write(text))])
    assert [entry.name for entry in parts.entries if entry.distribution == "my_part.py"] == ["mine"]
    assert parts.broken == ()
    group = type("Group", (), {"commands": {"list": 1}, "add_command": lambda self, *words: words})()
    assert parts.call("heatproof_commands", cli=group) == []


@pytest.mark.parametrize("words", [["--plugin", "my_part.py"], ["--plugin=my_part.py"]])
def test_the_option_stands_before_or_after_the_command_and_ends_with_it(words: list[str], write: Write) -> None:
    write(EXECUTOR.format(name="MyPart"))
    row = ["executor", "my_part", "my_part.py"]
    assert listed(*words) == [row]
    assert invoked(*words, "list", "--json").stdout == invoked("list", "--json", *words).stdout
    shown = invoked(*words, "show", "my_part").stdout
    assert shown.startswith("executor my_part (my_part.py ")
    assert "from my_part import MyPart\n\nRuns nothing.\n" in shown
    assert str(Path.cwd()) not in shown
    assert PLUGINS not in os.environ
    assert listed() == []


def test_the_variable_names_several_files_and_the_option_adds_to_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [write(EXECUTOR.format(name=name), f"{name.lower()}_part.py") for name in ("First", "Second", "Third")]
    monkeypatch.setenv(PLUGINS, os.pathsep.join([files[0].name, "", str(files[1])]))
    assert [row[1] for row in listed()] == ["first", "second"]
    assert [row[1] for row in listed("--plugin", files[2], "--plugin", files[0])] == ["first", "second", "third"]


def test_worker_processes_import_the_file_and_what_lies_beside_it(write: Write) -> None:
    write("NAME = 'beside'\n", "my_side.py")
    path = write(f"import my_side\n{EXECUTOR.format(name='MyPart')}\n    beside = my_side.NAME\n")
    component = Catalog([announcement(path)]).create("executor", "my_part", {})
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(attrgetter("name", "identity", "beside"), component).result() == (
            "my_part.py/my_part", component.identity, "beside",
        )  # fmt: skip


@pytest.mark.parametrize("edited", ["my_part.py", "my_side.py", "unused.py"])
def test_identities_change_with_the_file_and_what_it_imports(write: Write, edited: str) -> None:
    def identity() -> str:
        for name in ("my_part", "my_side"):
            sys.modules.pop(name, None)
        refresh()
        return Catalog([announcement(Path("my_part.py").absolute())]).create("executor", "my_part", {}).identity

    write("NAME = 1\n", "my_side.py")
    write("NAME = 1\n", "unused.py")
    write(f"import my_side\n{EXECUTOR.format(name='MyPart')}")
    first = identity()
    assert identity() == first
    time.sleep(0.01)
    Path(edited).write_text(Path(edited).read_text() + "\nADDED = 2\n")
    assert (identity() != first) is (edited != "unused.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n\nimport nothing_there\n", r"my_part.py:3: cannot be imported \(ModuleNotFoundError: No module "),
        ("x = 1\ndef f(:\n", r"my_part.py:2: cannot be imported \(SyntaxError: invalid syntax .*; correct the file"),
        ("def f():\n    return 1 / 0\n\nf()\n", r"my_part.py:2: cannot be imported \(ZeroDivisionError: "),
        ("raise SystemExit(3)\n", r"my_part.py:1: cannot be imported \(SystemExit: 3\)"),
        ("x = 1\n", r"my_part.py has nothing to register; define a subclass of one of Dataset, Model, Explainer, "),
        ("import torch\nclass Net(torch.nn.Module): ...\n", "register: the network Net needs a Model that builds it;"),
        (HOOK.format(name="heatproof_modls", arguments="", body="return {}"), r"'heatproof_modls' does not exist; did"),
        (EXECUTOR.format(name="Serial"), r"registers the executor 'serial', which heatproof registers already; give"),
        (EXECUTOR.format(name="MyPart") + EXECUTOR.format(name="My_Part"), "MyPart and My_Part are both named "),
    ],
)  # fmt: skip
def test_a_file_at_fault_is_refused_with_its_line(text: str, message: str, write: Write) -> None:
    write(text)
    result = invoked("list", "--plugin", "my_part.py")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    with pytest.raises(PluginError, match=message):
        raise PluginError(result.stderr)
    assert invoked("--plugin", "my_part.py", "--help").stderr == result.stderr
    assert isinstance(invoked("--debug", "list", "--plugin", "my_part.py").exception, PluginError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random.py", r"there is another module random \(.*random.py\); rename the file"),
        ("torch.py", r"there is another module torch \(.*torch.__init__.py\); rename the file"),
        ("my-part.py", "has a name that Python cannot import; rename it, such as my_part.py"),
        ("3d.net.py", "has a name that Python cannot import; rename it, such as _3d_net.py"),
        ("weights.pt", r"weights.pt is not a Python file \(.py\)"),
    ],
)
def test_a_name_that_cannot_be_imported_is_refused(name: str, message: str, write: Write) -> None:
    with pytest.raises(PluginError, match=message):
        announcement(write(EXECUTOR.format(name="MyPart"), name))


def test_paths_that_are_no_file_are_refused(write: Write, tmp_path: Path) -> None:
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "none.py", "does not exist; give the path")):
        with pytest.raises(PluginError, match=message):
            announcement(path)
    assert "requires a file" in invoked("list", "--plugin").stderr


def test_two_files_must_differ_in_their_names_and_in_those_of_their_classes(write: Write) -> None:
    text = EXECUTOR.format(name="MyPart")
    files = [write(text), write(text, "other_part.py"), write(text, "other/my_part.py")]
    both = ["--plugin", files[0], "--plugin"]
    assert "registers the executor 'my_part', which other_part.py registers already" in invoked(
        "list", *both, files[1]
    ).stderr  # fmt: skip
    assert "there is another module my_part" in invoked("list", *both, files[2]).stderr
    assert len(listed(*both, files[0])) == 1


def test_a_config_names_no_file_and_advice_says_who_does(write: Write) -> None:
    path = write("plugins: [my_part.py]\nmodels: [my_part.py]\nexecutor: my_part.py/my_part\n", "config.yaml")
    lines = invoked("check", path).stderr.splitlines()
    assert "plugins: a config loads no code; name the file by --plugin FILE in the command that runs it" in lines[0]
    assert "a config loads no file of code: add --plugin FILE to the command, see `heatproof list`" in lines[1]
    assert "add --plugin with the path of my_part.py to the command" in lines[2]
    assert "nothing is registered as 'my_part.py'; add --plugin with the path" in invoked("check", "my_part.py").stderr


def test_a_finished_run_is_read_without_the_file_and_says_what_is_missing(
    write: Write, configured: Callable[..., Any], parts: Catalog
) -> None:
    both = Catalog([Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0"), announcement(write(METRIC))])
    config = from_plain(resolved(configured()) | {"metrics": ["my_share"]}, both)
    folder = run(config, both).folder
    (whole,) = rankings(Results(folder, both))
    (read,) = rankings(Results(folder, parts))
    assert (whole.metric, whole.standard.higher_is_better, whole.standard.remark) == ("my_share", False, "")
    assert "add --plugin with the path of my_part.py to the command" in read.standard.remark
    assert {entry.name: entry.value for entry in read.entries} == {entry.name: entry.value for entry in whole.entries}
    assert json.loads((folder / "provenance.json").read_text())["environments"][0]["plugins"].keys() >= {"my_part.py"}
    assert str(folder.parent) not in (folder / "summary.csv").read_text()
