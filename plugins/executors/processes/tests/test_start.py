"""Runs whose worker processes cannot start, or cannot load their tasks: one sentence, no hang, no respawn."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HEAD = """
from heatproof.config.settings import RunConfig
from heatproof.registry.catalog import default
from heatproof.run.runner import run
from heatproof.testing.toys import Blobs, Regions
from heatproof.explainer import Explainer
from heatproof_processes.processes import Processes


class Mine(Explainer):
    def explain(self, batch):
        return batch.images.clone()


class Stateful(Mine):
    def __getstate__(self):
        return {"stream": open(__file__)}


def local():
    class Local(Mine):
        pass

    return Local()


def main(explainer=None):
    config = RunConfig(
        output="run", device="cpu", cache=False, datasets=[Blobs(count=4)], models=[Regions()], rows=1, threads=1,
        explainers=[explainer or Mine()], executor=Processes(workers=2), chunk=2,
    )
    finished = run(config, default())
    print("complete:", finished.complete, "failures:", finished.failures)
"""
GUARD = '\nif __name__ == "__main__":\n    main()\n'


def called(folder: Path, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python in a folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (folder, Path(__file__).parent)))}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, input=text, capture_output=True, text=True, timeout=250,
        check=False,
    )  # fmt: skip


def script(folder: Path, text: str) -> str:
    (folder / "script.py").write_text(text)
    return "script.py"


def test_a_script_with_a_main_guard_runs_its_classes(tmp_path: Path) -> None:
    result = called(tmp_path, script(tmp_path, HEAD + GUARD))
    assert (result.returncode, result.stdout) == (0, "complete: True failures: 0\n"), result.stderr


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    result = called(tmp_path, script(tmp_path, HEAD + "\nmain()\n"))
    assert result.returncode == 1
    assert result.stderr.count('put the run below `if __name__ == "__main__":`, or use executor: serial.') == 1
    assert result.stderr.count("Traceback") == 1


def test_a_script_that_workers_cannot_import_is_told_so(tmp_path: Path) -> None:
    hostile = "\nif __name__ == '__mp_main__':\n    raise ValueError('mine')\n"
    result = called(tmp_path, script(tmp_path, HEAD + hostile + GUARD))
    assert result.returncode == 1
    assert "a worker process ended while it started (exit status 1); if its error is printed above" in result.stderr
    assert "ValueError: mine" in result.stderr


def test_a_script_on_standard_input_is_told_so(tmp_path: Path) -> None:
    result = called(tmp_path, "-", text=HEAD + GUARD)
    assert result.returncode == 1
    assert "worker processes cannot import a script that is read from standard input; save it" in result.stderr


def test_a_class_of_a_notebook_is_named(tmp_path: Path) -> None:
    result = called(tmp_path, "-c", HEAD + "\n\nmain()\n")
    assert result.returncode == 1
    assert "cannot load what it should run (AttributeError: " in result.stderr
    assert "'Mine'" in result.stderr
    assert "it does not know the classes and functions of a notebook" in result.stderr


@pytest.mark.parametrize(("value", "name"), [("local()", "Local"), ("Stateful()", "<_io.TextIOWrapper name=")])
def test_a_value_that_cannot_be_sent_is_named(tmp_path: Path, value: str, name: str) -> None:
    result = called(tmp_path, script(tmp_path, f'{HEAD}\nif __name__ == "__main__":\n    main({value})\n'))
    assert result.returncode == 1
    (sentence,) = [line for line in result.stderr.splitlines() if "cannot be sent to a worker process" in line]
    assert name in sentence
    assert "or use executor: serial." in sentence
