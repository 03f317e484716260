"""The command line: standard output, standard error, and exit status of every command."""

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import heatproof_parts
from heatproof.cli.terminal import INTERRUPTED
from heatproof.hooks import KINDS, hookimpl
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import Announcement
from heatproof.results.parquet import read_table
from heatproof.results.store import Run

COMMANDS = ["check", "data", "list", "new", "plan", "report", "run", "show"]
IN_A_PROCESS = """
import sys
sys.path.insert(0, {parts!r})
from heatproof.registry import catalog
from heatproof.registry.discovery import Announcement
parts = catalog.Catalog([Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0")])
catalog.default = lambda: parts
from heatproof.cli.commands import main
main()
"""


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the config of a small run: eight test images, two units of four; JSON is YAML."""

    def write(**settings: Any) -> Path:
        usual = {
            "output": "run", "datasets": [{"use": "images", "split": "test", "count": 16}], "models": ["regions"],
            "explainers": ["slope", "demanding"], "metrics": ["mass"], "chunk": 4, "rows": 2, "threads": 1,
            "device": "cpu", "statistics": {"resamples": 50, "permutations": 50},
            "report": {"examples": 0, "figures": False},
        }  # fmt: skip
        (tmp_path / "config.yaml").write_text(json.dumps({**usual, **settings}))
        return tmp_path / "config.yaml"

    return write


def printed(result: Any) -> str:
    """Return the standard output of a command that succeeds."""
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def cells(text: str) -> list[list[str]]:
    """Split the lines of a table into cells."""
    return [re.split(r"  +", line.strip()) for line in text.splitlines()]


def sentences(text: str) -> str:
    """Remove the line breaks of a narrow terminal."""
    return " ".join(text.split())


# help, list, show


def test_help_names_every_command(command: Any) -> None:
    text = printed(command("--help"))
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S.*\.$", text, re.MULTILINE), name
    assert printed(command("-h")) == text


@pytest.mark.parametrize("words", [[name] for name in COMMANDS] + [["data", "check"], ["data", "write"]])
def test_every_command_has_help(words: list[str], command: Any) -> None:
    text = printed(command(*words, "--help"))
    assert text.startswith(f"Usage: heatproof {' '.join(words)} ")
    assert max(map(len, text.splitlines())) <= 80


def test_the_installed_script() -> None:
    script = Path(sys.executable).parent / "heatproof"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=False)
    assert re.fullmatch(r"heatproof, version \d+\.\d+\.\d+\n", done.stdout)


def test_a_reader_that_closes_the_output_early_is_no_fault_of_a_plugin() -> None:
    """As ``heatproof list | head -1`` does; nothing is said."""
    script = Path(sys.executable).with_name("heatproof")
    with subprocess.Popen([script, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listing:
        assert listing.stdout is not None
        listing.stdout.close()
        assert listing.stderr is not None
        assert not listing.stderr.read()


def test_list(command: Any, installed: Any) -> None:
    rows = [line.split() for line in printed(command("list")).splitlines()]
    known = [[entry.kind, entry.name, entry.distribution, entry.version] for entry in installed.entries]
    assert [row for row in known if row not in rows] == []
    assert {row[0] for row in known} == set(installed.kinds) >= set(KINDS)
    assert printed(command("list", "--verify")) == printed(command("list"))


def test_list_as_json(command: Any, installed: Any) -> None:
    listing = json.loads(printed(command("list", "--json")))
    ecs = {"kind": "metric", "name": "ecs", "distribution": "heatproof-ecs", "version": "0.1.0"}
    assert listing["broken"] == []
    assert ecs in listing["components"]
    assert len(listing["components"]) == len(installed.entries)


def test_show(command: Any) -> None:
    text = printed(command("show", "resnet50"))
    assert text.startswith(
        "model resnet50 (heatproof-resnet50 0.1.0)\nfrom heatproof_resnet50.resnet50 import ResNet50\n\n"
        "Grades diabetic retinopathy with a residual network of 50 layers"
    )
    assert max(map(len, text.splitlines())) <= 100
    rows = cells(text)
    assert ["name", "type", "default"] in rows
    assert ["weights", "torchvision or path or none", "none"] in rows
    assert ["size", "integer ≥ 1 ≤ 10000", "448"] in rows


def test_show_a_distribution(command: Any) -> None:
    text = printed(command("show", "heatproof-gradient"))
    assert "explainer gradient (heatproof-gradient 0.1.0)" in text
    assert "explainer input_x_gradient (heatproof-gradient 0.1.0)" in text


# check and plan


def test_check_a_config(command: Any, config: Any, tmp_path: Path) -> None:
    text = printed(command("check", config()))
    rows = cells(text)
    assert rows[0] == ["2 combinations (dataset images, split test, samples 8, reduction max)"]
    assert ["regions", "slope", "predicted", "exact"] in rows
    assert ["random", "exact"] in rows
    assert "demanding  undefined because demanding needs attention, which regions does not offer" in text
    assert ["dataset", "model", "samples", "forward", "backward", "heatmaps", "disk", "memory"] in rows
    (cost,) = [row for row in rows if row[:2] == ["images", "regions"]]
    assert cost[2:7] == ["8", "16", "8", "16", "16.4 kB"]
    assert text.endswith(f"{tmp_path / 'config.yaml'} is valid.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_plan_with_another_setting(command: Any, config: Any) -> None:
    text = printed(command("plan", config(), "--set", "datasets.0.limit=3", "--set", "targets=[label, left]"))
    assert text.startswith("3 combinations (dataset images, split test, samples 3, reduction max)")
    assert "label" in text
    assert "forward" not in text


def test_check_a_component(command: Any) -> None:
    text = printed(command("check", "ecs"))
    results = re.findall(r"^(passed|skipped)  +metric ecs: \S", text, re.MULTILINE)
    assert len(results) > 10
    assert text.endswith(f"ecs passes: {results.count('passed')} of {len(results)} checks hold, "
                         f"{results.count('skipped')} do not apply.\n")  # fmt: skip


def test_check_a_component_that_fails(command: Any) -> None:
    result = command("check", "slope", "--set", "fault=memory")
    assert result.exit_code == 1
    assert re.search(r"^failed   explainer slope: .*more than there is", result.stdout, re.MULTILINE)
    assert re.search(r"^Error: slope fails \d+ of \d+ checks; see above\.\n$", result.stderr)


def test_check_a_component_that_lacks_settings(command: Any) -> None:
    result = command("check", "heatproof-idrid")
    assert result.exit_code == 1
    assert "needs settings: root" in result.stdout
    assert result.stderr == "Error: heatproof-idrid was not checked, see above; give settings as --set NAME=VALUE.\n"
    assert command("check", "heatproof-idrid", "--set", "root=/nowhere").stdout.startswith("failed")


def test_a_name_is_checked_beside_a_folder_of_that_name(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "random passes: " in printed(command("check", "random"))


# run and report


def test_run(command: Any, config: Any, calls: Any, tmp_path: Path) -> None:
    result = command("run", config())
    text = printed(result)
    run = tmp_path / "run"
    assert "\n4 units\n" in result.stderr
    assert re.search(r"^4/4 units, \S+/min, 0 failed: images × regions, 4 samples$", result.stderr, re.MULTILINE)
    assert re.search(r"^mass on images, split test, by value \(excluded 0, failed 0\)$", text, re.MULTILINE)
    rows = cells(text)
    assert ["combination", "value", "group", "interval", "valid", "p vs random"] in rows
    assert [row[4] for row in rows if row[0] == "regions × slope" and len(row) == 6] == ["8"]
    assert "skipped: demanding on regions (images): undefined because demanding needs attention" in text
    assert text.endswith(f"No case failed. Tables: {run}; report: {run / 'report.html'}\n")
    assert (run / "report.html").is_file()
    calls()
    again = command("run", config())
    assert "4 units, 4 already there" in again.stderr
    assert printed(again) == text
    assert calls("explain", "measure") == []


def test_the_ranking_shows_the_means_of_the_scores(command: Any, config: Any, tmp_path: Path) -> None:
    text = printed(command("run", config(explainers=["slope", "noted"])))
    scores = read_table(tmp_path / "run/scores.parquet")
    means = {}
    for name, explainer in {"regions × slope": "slope", "regions × noted": "noted", "random": "random"}.items():
        rows = (scores["measure"] == "value") & (scores["explainer"] == explainer)
        means[name] = scores["value"][rows].mean()
    sentence, table = text.split("\n\n")[:2]
    ranking = table.splitlines()[3:]
    actual = [row[:2] for row in cells("\n".join(ranking))]
    assert actual == [[name, f"{means[name]:.3f}"] for name in sorted(means, key=means.get, reverse=True)]
    assert re.search(
        rf"cannot be told apart .*; chance is {means['random']:.3f}, and none can be told from it", sentence
    )


def test_report(command: Any, config: Any, tmp_path: Path) -> None:
    command("run", config())
    (tmp_path / "run/report.html").unlink()
    text = printed(command("report", tmp_path / "run"))
    assert re.match(r"slope reaches 0\.\d+; chance is .*\n\nmass on images, split test, by value", text)
    assert text.endswith(f"wrote {tmp_path / 'run/report.html'}\n")
    assert (tmp_path / "run/report.html").is_file()


def test_without_a_page_the_tables_stay(
    command: Any, config: Any, installed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("run", config())
    (tmp_path / "run/report.html").unlink()
    monkeypatch.setattr(installed, "answers", lambda hook, **arguments: ([], []))
    text = printed(command("report", tmp_path / "run"))
    assert re.match(r"slope reaches 0\.\d+; chance is .*\n\nmass on images, split test, by value", text)
    assert text.endswith("\nno page was written: install a plugin that writes one, such as heatproof-report\n")
    assert printed(command("run", config())).endswith(f"Tables: {tmp_path / 'run'}; {text.splitlines()[-1]}\n")


def test_a_page_that_raises_is_reported_and_the_results_stay(
    command: Any, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(results: Any) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("heatproof_report.page.write_page", raising)
    result = command("run", config())
    run = tmp_path / "run"
    fault = "its hook heatproof_run_finished raised RuntimeError: no ink"
    assert result.exit_code == 1
    assert fault in result.stderr
    assert f"`heatproof report {run}` calls it again" in result.stderr
    assert result.stdout.endswith(f"No case failed. Tables: {run}; no page was written\n")
    assert fault in (run / "log.txt").read_text()
    assert len(read_table(run / "scores.parquet")["case"]) > 0
    assert command("report", run).exit_code == 1
    assert not (run / "report.html").exists()


def test_the_folder_of_a_run_may_have_another_name(command: Any, config: Any, tmp_path: Path) -> None:
    text = printed(command("run", config(), "--name", "second run"))
    assert f"Tables: {tmp_path / 'second run'};" in text
    assert not (tmp_path / "run").exists()
    for name in ("", ".", "..", "a/b", "/a"):
        refused = command("run", config(), "--name", name)
        assert (refused.exit_code, "--name must be the name of one folder" in refused.stderr) == (1, True)


def test_shards(command: Any, config: Any, tmp_path: Path) -> None:
    first = printed(command("run", config(), "--shard", "1/2"))
    assert first.endswith(f"Other shards are not finished; tables so far: {tmp_path / 'run'}\n")
    assert not (tmp_path / "run/report.html").exists()
    assert "report: " in printed(command("run", config(), "--shard", "2/2"))


@pytest.mark.parametrize("part", ["explainers", "metrics"])
def test_strict_fails_for_failed_cases(part: str, command: Any, config: Any) -> None:
    faults = {"explainers": [{"use": "slope", "on": ["blob-009"]}], "metrics": [{"use": "mass", "on": ["blob-009"]}]}
    path = config(**{part: faults[part]})
    assert "; scores.parquet says why" in printed(command("run", path))
    result = command("run", path, "--strict")
    assert result.exit_code == 1
    assert re.search(r"^Error: invalid or failed cases: \d \(--strict\)", result.stderr, re.MULTILINE)


def test_strict_accepts_undefined_cases(command: Any, config: Any) -> None:
    path = config(metrics=[{"use": "mass", "on": ["blob-009"], "fault": "undefined"}])
    assert "No case failed" in printed(command("run", path, "--strict"))


def test_interrupted(command: Any, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(kind: str, *values: Any) -> None:
        if kind == "explain" and "blob-013" in values[1]:
            raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr(heatproof_parts, "note", stop)
        result = command("run", config())
    assert result.exit_code == INTERRUPTED
    message = f"Stopped; 2 of 4 units are committed in {tmp_path / 'run'}. Run the same command again to go on.\n"
    assert result.stderr.endswith(message)
    assert "2 already there" in command("run", config()).stderr


def test_interrupted_before_a_run(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("heatproof.registry.catalog.default", stop)
    result = command("list")
    assert result.exit_code == INTERRUPTED
    assert result.stderr == "Stopped.\n"


@pytest.mark.slow
def test_a_terminal_and_ctrl_c(config: Any, tmp_path: Path) -> None:
    slow = config(explainers=[{"use": "slope", "seconds": 0.2}], chunk=1, datasets=[{"use": "images", "count": 400}])
    inner, outer = os.openpty()
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    script = IN_A_PROCESS.format(parts=str(Path(heatproof_parts.__file__).parent))
    running = subprocess.Popen(
        [sys.executable, "-c", script, "run", str(slow)],
        stdin=outer, stdout=outer, stderr=outer, start_new_session=True, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(outer)
    output = _until(inner, r"4/800 units, [\d.]+/min, 0:[\d:]+ left, 0 failed")
    running.send_signal(signal.SIGINT)
    output += _until(inner, "to go on")
    assert running.wait(60) == INTERRUPTED
    os.close(inner)
    assert "images × regions" in output
    assert "Traceback" not in output
    message = re.search(r"Stopped; (\d+) of 800 units are committed in", sentences(output))
    assert message
    assert 4 <= int(message[1]) <= len(Run(tmp_path / "run").keys("heatmaps"))
    frames = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output).replace("\r", "\n").splitlines()
    assert max(len(frame) for frame in frames if "━" in frame) <= 80


def _until(terminal: int, pattern: str) -> str:
    """Read the output of a terminal until it matches; fail if it ends before."""
    output = b""
    while not re.search(pattern, sentences(output.decode(errors="ignore"))):
        try:
            output += os.read(terminal, 65536)
        except OSError:
            raise AssertionError(output.decode(errors="replace")) from None
    return output.decode(errors="ignore")


# plugins


class Greeting:
    """A plugin that adds a command."""

    @staticmethod
    @hookimpl
    def heatproof_commands(cli: Any) -> None:
        cli.command("greet", help="Say hello.")(lambda: print("hello"))


def test_plugins_add_commands(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heatproof_parts, "greeting", Greeting, raising=False)
    catalog = Catalog([Announcement("greeting", "heatproof_parts:greeting", "heatproof-greeting", "1.0")])
    monkeypatch.setattr("heatproof.registry.catalog.default", lambda: catalog)
    assert printed(command("greet")) == "hello\n"
    assert "greet   Say hello." in printed(command("--help"))
    assert command("gret").exit_code == 2
    monkeypatch.setattr("heatproof.registry.catalog.default", lambda: Catalog([]))
    assert command("greet").exit_code == 2
    assert "greet" not in printed(command("--help"))
