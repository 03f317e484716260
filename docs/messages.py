"""Writes ``messages.md``: ``python docs/messages.py`` runs the fast tests and collects every error they provoke.

The file is a plugin of pytest as well (``-p messages``): while the tests run it notes each message that is made, by the
line of code that makes it. Of all messages that differ only in quoted words, paths and numbers, the page shows one.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/messages.md"
SELECTIONS = (
    ("not slow", ()),
    (
        "slow",
        tuple(f"tests/together/test_{name}.py" for name in ("bad_input", "bad_explaining", "edited_data", "extremes")),
    ),
)
"""The tests whose messages are collected, by mark and files: the fast ones, and the slow ones of bad input."""
FOLDER = "HEATPROOF_MESSAGES"
"""The environment variable that names the folder in which every worker of pytest keeps a file."""
SOURCES = re.compile(r"(?:core|plugins/\w+/[\w-]+)/src/(?P<module>[\w/]+)\.py$")
VARYING = (
    (re.compile(r"(?:/[\w.-]+)*/pytest-of-\w+/pytest-\d+/(?:popen-gw\d+/)?[\w.-]+?\d+(?=[/\s'\",;:)]|$)"), "…"),
    (re.compile(re.escape(str(ROOT)) + r"/?"), ""),
    (re.compile(r"/tmp/[\w.-]+"), "…"),
    (re.compile(r"(?<![\w…])" + re.escape(str(Path.home())) + r"(?=/)"), "~"),
    (re.compile(r"\b0x[0-9a-f]+\b"), "0x…"),
    (re.compile(r"\b[0-9a-f]{16,}\b"), "…"),
)
"""What differs from run to run or from machine to machine, and what stands for it."""
HEADING = """# Messages

One example of every error message that the tests provoke, so that all of them can be read in one sitting. The page is
written by `python docs/messages.py`. Messages that differ only in quoted words, paths and numbers stand once. A message
says what was seen, what is allowed and what to do; one that does not is a fault, please report it.
"""


def pytest_configure(config: pytest.Config) -> None:
    """Note the message of every error and of every problem of a config from here on."""
    if FOLDER in os.environ:
        from heatproof.config.yamlfile import Problem
        from heatproof.errors import HeatproofError, Undefined

        stream = (Path(os.environ[FOLDER]) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8")
        config.add_cleanup(stream.close)

        def note(kind: str, text: str, frame: FrameType | None) -> None:
            site = _site(frame)
            if site and text.strip():
                stream.write(json.dumps({"kind": kind, "site": site, "text": _settled(text)}) + "\n")

        def error_made(self: Exception, *args: object) -> None:
            Exception.__init__(self, *args)
            if type(self).__name__ != "ConfigError":
                note(type(self).__name__, str(self), sys._getframe(1))

        initialise = Problem.__init__

        def problem_made(self: Problem, *args: Any) -> None:
            initialise(self, *args)
            note("ConfigError", self.text, sys._getframe(1))

        for kind in (HeatproofError, Undefined):
            kind.__init__ = error_made  # type: ignore[method-assign,assignment]
        Problem.__init__ = problem_made  # type: ignore[method-assign,assignment]


def _site(frame: FrameType | None) -> str:
    """The module of ours that makes a message; empty where a test or a library makes it."""
    match = SOURCES.search(frame.f_code.co_filename) if frame else None
    return match["module"].replace("/", ".") if match else ""


def _settled(text: str) -> str:
    """A message without what differs from run to run, in one line."""
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def template(text: str) -> str:
    """A message without its quoted words, paths, numbers and lists, by which equal messages are told.

    >>> template("unknown metric 'ecz'; did you mean 'ecs'?") == template("unknown metric 'a'; did you mean 'b'?")
    True
    """
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}", "…", text)
    text = re.sub(r"^[\w./:-]+(?=:? )|\b[A-Z]\w*[a-z][A-Z]\w*\b|\b\w*_\w*\b|(?<=: )[\w.]+(?=: )", "…", text)
    text = re.sub(r"[\w.…-]*/[\w./…-]*|[\w-]+\.\w+|\d[\d.,]*", "…", text)
    text = re.sub(r"(?:allowed|did you mean)\b.*", "…", text)
    return re.sub(r"(?:…[\s,:;=]*(?:and |or )?)+", "…", text)


def collected(folder: Path) -> dict[str, dict[str, list[str]]]:
    """The messages by module and kind of error, one for each template, in order."""
    shortest: dict[tuple[str, str, str], str] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            key = (entry["site"], entry["kind"], template(entry["text"]))
            shortest[key] = min(shortest.get(key, entry["text"]), entry["text"], key=lambda text: (len(text), text))
    messages: dict[str, dict[str, list[str]]] = {}
    for (site, kind, _), text in sorted(shortest.items()):
        messages.setdefault(site, {}).setdefault(kind, []).append(text)
    return messages


def page(messages: dict[str, dict[str, list[str]]]) -> str:
    """The page in Markdown."""
    lines = [HEADING]
    for site, kinds in messages.items():
        lines.append(f"## `{site}`\n")
        for kind, texts in kinds.items():
            lines.append(f"`{kind}`\n")
            lines += [f"- {_escaped(text)}" for text in sorted(texts)]
            lines.append("")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """A message as Markdown shows it unchanged."""
    return re.sub(r"([\\`*_{}\[\]<>#|$])", r"\\\1", text)


def main() -> int:
    """Run the tests that see messages with this plugin and write the page; the exit code is that of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        search = os.pathsep.join([str(ROOT / "docs"), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {FOLDER: folder, "PYTHONPATH": search}
        command = [sys.executable, "-m", "pytest", "-p", "messages", "-q", *(sys.argv[1:] or ["-n2"])]
        codes = [
            subprocess.run([*command, "-m", mark, *files], cwd=ROOT, env=environment, check=False).returncode
            for mark, files in SELECTIONS
        ]
        PAGE.write_text(page(collected(Path(folder))), encoding="utf-8")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
