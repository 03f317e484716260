"""The program that counts habits: its counts of small texts, its limits, and its list of spots."""

import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / ".ci/habits.py"
COUNTED = runpy.run_path(str(PROGRAM))["counted"]
LIMITS: Mapping[str, tuple[str, str]] = {
    "role word": (
        "def f(found):\n    return found\n",
        "100.0% of functions bind a role word, at most 3% may",
    ),
    "packed": (
        "a, b = f(1), f(2)\n",
        "1000.0 packed assignments per 1,000 lines, at most 2 may be",
    ),
    "conditional": (
        "a = 1 if b else 2\n",
        "1000.0 conditional expressions per 1,000 lines, at most 10 may be",
    ),
    "length": (
        "def f():\n" + "    pass\n" * 39,
        "a function has 40 lines, fewer than 40 may be",
    ),
}
"""Habit → a text that exceeds the limit, and the sentence about it."""


def number(tmp_path: Path, habit: str, text: str) -> int:
    """The program's count of one habit in a text."""
    path = tmp_path / "module.py"
    path.write_text(text, encoding="utf-8")
    return COUNTED([path]).number(habit)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository that tracks the program and no other file."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(PROGRAM, tmp_path / ".ci")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    return tmp_path


def track(repository: Path, name: str, text: str) -> None:
    """Add a file to a repository."""
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    subprocess.run(["git", "add", name], cwd=repository, check=True)


def habits(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a repository."""
    words = [sys.executable, ".ci/habits.py", *arguments]
    return subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("def f(found): ...", 1),
        ("def f(*kept, one=1): ...", 1),
        ("def f():\n    made = 1", 1),
        ("def f():\n    a, (made, b) = g()", 1),
        ("def f():\n    for each in g(): ...", 1),
        ("def f():\n    return [one for one in g()]", 1),
        ("def f():\n    with g() as held: ...", 1),
        ("def f():\n    if told := g(): ...", 1),
        ("async def f(seen): ...", 1),
        ("def f(found): ...\ndef g(made): ...\ndef h(values): ...", 2),
        ("def f():\n    def g(found): ...", 1),
        ("found = 1\nclass Found:\n    made = 2", 0),
        ("def f(self):\n    self.found = g(kept=1).made", 0),
        ("def f(found_rows, founds): ...", 0),
    ],
)
def test_functions_that_bind_a_role_word(tmp_path: Path, text: str, count: int) -> None:
    assert number(tmp_path, "role word", text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a, b = f(1), f(2)", 1),
        ("a, b = 1, 2\nself.a, self.b = a, b", 2),
        ("def f():\n    a, b = b, a + b", 1),
        ("a, b = b, a", 0),
        ("a, b = f()", 0),
        ("a = 1, 2", 0),
        ("for a, b in ((1, 2), (3, 4)): ...", 0),
    ],
)
def test_packed_assignments(tmp_path: Path, text: str, count: int) -> None:
    assert number(tmp_path, "packed", text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a = 1 if b else 2", 1),
        ("def f():\n    return 1 if a else 2 if b else 3", 2),
        ("a = [b for b in c if b]\nif a: ...\nelse: ...", 0),
    ],
)
def test_conditional_expressions(tmp_path: Path, text: str, count: int) -> None:
    assert number(tmp_path, "conditional", text) == count


def test_lines_functions_and_the_longest_function(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('"""Text."""\n\n\ndef f():\n    a = 1\n\n    return a\n\n\ndef g(): ...\n')
    counts = COUNTED([path, path])
    assert (counts.lines, counts.functions, counts.longest) == (10, 4, 4)
    assert COUNTED([]).excesses() == []


@pytest.mark.parametrize("habit", LIMITS)
def test_an_excess_fails_with_a_sentence(repository: Path, habit: str) -> None:
    text, sentence = LIMITS[habit]
    track(repository, "src/module.py", text)
    process = habits(repository, "src")
    assert process.returncode == 1
    assert f"  sources: {sentence}\n" in process.stdout


def test_counts_within_the_limits_pass(repository: Path) -> None:
    line = "a = 1\n"
    excess = "a, b = f(1), f(2)\n" + "a = 1 if b else 2\n" * 5
    track(repository, "module.py", "def f():\n" + "    pass\n" * 38 + excess + line * 500)
    process = habits(repository, "module.py")
    assert process.returncode == 0, process.stdout
    assert process.stdout.startswith("sources: 545 lines, 1 functions, longest 39, 0 with role words, 1 packed")
    assert "5 conditional expressions\n" in process.stdout


def test_the_list_names_every_line(repository: Path) -> None:
    track(repository, "module.py", "a = 1 if b else 2\n\n\ndef f(one, made):\n    a, b = g(1), g(2)\n")
    assert "module.py" not in habits(repository, "module.py").stdout
    assert set(habits(repository, "--list", "module.py").stdout.splitlines()[:3]) == {
        "module.py:1: conditional: 1 if b else 2",
        "module.py:4: role word: f binds made, one",
        "module.py:5: packed: a, b = (g(1), g(2))",
    }


def test_the_limits_apply_to_sources_and_tests_separately(repository: Path) -> None:
    track(repository, "plugin/src/module.py", "def f(values): ...\n" * 100)
    track(repository, "plugin/tests/test_module.py", "def f(found): ...\n")
    process = habits(repository, "plugin")
    assert process.returncode == 1
    assert "  tests: 100.0% of functions bind a role word" in process.stdout
    assert "  sources:" not in process.stdout


def test_only_tracked_python_files_count(repository: Path) -> None:
    (repository / "fresh.py").write_text("def f(found): ...\n")
    track(repository, "found.txt", "def f(found): ...\n")
    process = habits(repository)
    assert process.returncode == 0, process.stdout
    assert "tests: 0 lines" in process.stdout
